"""Checks of an installation, from facts. Pure."""
