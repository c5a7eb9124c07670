"""Decisions: facts and `now` in, a frozen decision out. No input or output, no clock, no logger."""
