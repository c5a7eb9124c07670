"""Profiles in the formats of other programs, and as text. Pure."""
