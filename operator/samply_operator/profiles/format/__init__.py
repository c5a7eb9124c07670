"""samply's file format: from bytes to a Profile in memory."""
