"""The Kubernetes API server: client, pods, exec, events, reviews."""
