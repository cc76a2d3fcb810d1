"""The test-suite that every plug-in must pass, ours first."""
