"""Which pods belong to which pipeline, and how annotations request profiles."""
