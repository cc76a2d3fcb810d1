"""Hands a bundle to a server of another kind: Triton, KServe, Ray Serve, a container."""
