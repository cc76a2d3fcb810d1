"""jettison: the fastest version of a trained model for this machine, certified."""

__version__ = "0.1.0"
