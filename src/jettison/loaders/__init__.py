"""Ways in. Each file is one plug-in of `jettison.loaders`."""
