"""The HTTP side of a server. Calls for inference never touch FastAPI's machinery; the rest does."""
