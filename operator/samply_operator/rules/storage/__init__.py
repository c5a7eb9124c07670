"""What to keep on the volume, and what to remove."""
