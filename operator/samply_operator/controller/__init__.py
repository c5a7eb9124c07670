"""The `operator` container: the parts of its process, and its end."""
