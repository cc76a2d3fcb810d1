"""Measures of quality and of cost: plug-ins of `jettison.metrics` and `jettison.costs`."""
