"""Privacy: pseudonyms, anonymity of data, forgetting, and what may be said of private training."""
