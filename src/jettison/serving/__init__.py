"""Serves certified bundles: batching without delay, Open Inference Protocol v2, monitoring."""
