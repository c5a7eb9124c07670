"""Whether an installation can do its work: facts in, checks out."""
