"""The door to Feldera's own API server: its pipelines, whose a key is, and what a pipeline says of itself."""
