"""The volume (PVC) and the bucket: names (pure), durable writing, and an index of the content."""
