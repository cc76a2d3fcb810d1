"""Hands a bundle to a server of another kind: Triton, KServe, Ray Serve, a container.

`exporting.py` checks the bundle and asks the registry for the kind; each other file is one plug-in
of `jettison.exports`, or text that several of them write.
"""
