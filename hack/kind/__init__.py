"""The cluster as kind runs it, where a Docker engine answers."""
