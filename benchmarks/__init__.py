"""Scripts behind every published number; each writes one file of `benchmarks/results/`."""
