"""Graphs that nobody here wrote, sent through load, profile, advise and int8."""
