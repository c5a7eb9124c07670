"""Looks at an installation from inside: gathers the facts that rules/installation judges."""
