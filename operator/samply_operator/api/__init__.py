"""The HTTP service: requests in, decisions of `rules` out. It has no permissions in the cluster."""
