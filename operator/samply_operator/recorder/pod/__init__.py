"""The steps of one recording in its pod, in order: prepare, follow, collect, finish."""
