"""The door to the volume: where files lie (`layout`, pure) and how they are written and read (`volume`)."""
