"""What the benchmarks of unstructured pruning share; needs PyTorch, NumPy and SciPy only."""
