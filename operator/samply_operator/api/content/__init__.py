"""Response bodies: stored files, zip files, converted profiles, and JSON representations."""
