"""The steps of one recording that touch its pod, in their order: prepare, follow, collect, finish."""
