"""Bodies of answers: stored files, zip files, converted profiles, and JSON representations."""
