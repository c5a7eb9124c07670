"""Feldera's own API server: its pipelines, the owner of a key, and a pipeline's own data."""
