"""The door to the PVC: names (pure), durable writing, the volume, and an index of what it holds."""
