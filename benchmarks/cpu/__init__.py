"""The peers' benchmark: one model at a time, every peer by its own API, timed side by side."""
