"""The project's data types, as frozen values: no I/O, no clock, no logger."""
