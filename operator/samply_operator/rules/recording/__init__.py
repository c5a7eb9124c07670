"""One recording: admission, preflight, mode, samply's output, status."""
