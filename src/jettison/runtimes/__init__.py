"""Ways to run a model. Each file is one plug-in of `jettison.runtimes`."""
