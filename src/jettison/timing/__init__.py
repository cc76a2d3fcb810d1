"""The timing protocol: launches of worker processes, rounds in random order, intervals."""
