"""Parts of the benchmark of pruning on language models."""
