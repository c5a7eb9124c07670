"""Function names: samply's sidecar, and putting it into a profile."""
