"""Kinds of artifact on disk. Each file is one plug-in of `jettison.formats`."""
