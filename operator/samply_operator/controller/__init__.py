"""The `operator` container: what lives in its process, and when that ends."""
