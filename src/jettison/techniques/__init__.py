"""Ways to change a model. Each file is one plug-in of `jettison.techniques`."""
