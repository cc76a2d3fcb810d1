"""Tests of jettison."""
