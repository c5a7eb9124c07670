"""Permissions over HTTP: API keys, signed links, request rates."""
