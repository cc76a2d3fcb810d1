"""Tests, bounds and plans that decide whether a candidate's quality has dropped."""
