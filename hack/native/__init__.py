"""A one-node Kubernetes as plain processes of this machine, for machines without a Docker engine."""
