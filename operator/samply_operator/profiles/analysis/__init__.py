"""The content of a profile: sums, call trees, summaries, comparisons. Pure."""
