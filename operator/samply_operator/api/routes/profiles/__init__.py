"""Routes about the profiles of a pipeline, one file per resource."""
