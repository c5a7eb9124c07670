"""What the HTTP service asks of the operator over its socket."""
