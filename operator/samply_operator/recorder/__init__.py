"""Recordings, step by step, with kube, store, profiles and rules."""
