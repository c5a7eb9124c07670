"""What leaves the store: by retention, and after an object was deleted."""
