"""Decisions: pure functions of facts and `now` that return frozen data. No I/O, no clock, no logger."""
