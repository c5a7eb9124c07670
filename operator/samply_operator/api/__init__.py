"""The network door: HTTP in, decisions of `rules` out. It holds no right in the cluster."""
