"""One recording: admission, preflight, mode, what samply said, what the status says."""
