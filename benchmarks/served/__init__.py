"""Parts of `benchmarks.serving`: models, servers, rounds and the rows that come of them."""
