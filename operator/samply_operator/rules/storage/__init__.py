"""What is kept on the volume, and what goes."""
