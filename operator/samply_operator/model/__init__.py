"""What the project talks about, as frozen values: no input or output, no clock, no logger."""
