"""Transformations: seeded changes of raw examples, one context each."""
