"""The door to the Kubernetes API server: client, pods, exec, events, reviews."""
