"""The listening side of the service: sockets, TLS, limits, the shape of errors, logs and metrics."""
