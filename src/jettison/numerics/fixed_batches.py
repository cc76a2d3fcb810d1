"""Batches for graphs that accept only the batch size that they were saved with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jettison.domain.model import Model
from jettison.domain.rows import Array, Batch


def fixed_batch(model: Model) -> int:
    """Gives the batch size that the graph was saved with, or 0 if it is free."""
    if "fixed-batch" not in model.traits:
        return 0
    first = model.inputs[0].shape[0]
    return first if isinstance(first, int) else 1


def pieces(batch: Batch, size: int) -> Iterator[dict[str, Array]]:
    """Cuts a batch into pieces of exactly `size` rows; the last row fills up the last piece."""
    rows = len(next(iter(batch.values())))
    for start in range(0, rows, size):
        piece = {name: array[start : start + size] for name, array in batch.items()}
        short = size - min(size, rows - start)
        if short:
            piece = {
                name: np.concatenate([array, np.repeat(array[-1:], short, axis=0)])
                for name, array in piece.items()
            }
        yield piece
