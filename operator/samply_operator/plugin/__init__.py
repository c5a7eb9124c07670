"""`kubectl samply`: record, list, get, top, diff, open and preflight from a terminal, with the user's own kubectl."""
