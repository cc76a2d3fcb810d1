"""The sealed rows, and the ledger that charges every look at them."""
