"""Recordings that Feldera takes itself, in mode Pipeline."""
