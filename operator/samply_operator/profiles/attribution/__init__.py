"""What a sample counts for besides its functions: an operator of the circuit, or a group of functions. Pure."""
