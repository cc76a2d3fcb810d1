"""The stages of a run: one verb, one file; they meet only through the domain types."""
