"""The answer to a request for a profile."""
