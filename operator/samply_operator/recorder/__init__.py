"""Joins kube, store, profiles and rules into one recording, step by step."""
