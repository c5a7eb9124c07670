"""Which pods are which pipeline, and what an annotation asks for."""
