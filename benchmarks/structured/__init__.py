"""What the benchmarks of structured pruning share."""
