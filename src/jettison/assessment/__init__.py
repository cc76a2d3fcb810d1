"""Assessing a model by group, compressed or not: what it decides, for whom, and how sure that is."""
