"""What a profile says: sums, call trees, summaries, comparisons. Pure."""
