"""The child process that reads profiles, with limits."""
