"""Attribution of samples to operators of the circuit or to groups of functions. Pure."""
