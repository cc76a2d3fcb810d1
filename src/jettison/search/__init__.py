"""Which recipe to try next, and when to stop."""
