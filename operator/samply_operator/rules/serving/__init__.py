"""What a request for a profile is answered with."""
