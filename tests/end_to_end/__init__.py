"""The whole path, as a user types it."""
