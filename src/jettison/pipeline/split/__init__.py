"""Split: rows of files or of Python objects -> the three uses of data, encoded on disk."""

from jettison.pipeline.split.loading import load_data, made_up_data

__all__ = ["load_data", "made_up_data"]
