"""Models with rows on which ways to int8 are compared."""
