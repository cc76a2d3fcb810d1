"""Whether a saved PyTorch model has weights for the sparse tensor cores of NVIDIA GPUs.

Files are read as they lie, and no framework is loaded: the parent process asks before anything is
pruned.
"""

from __future__ import annotations

from jettison.domain.model import Artifact
from jettison.domain.rows import Array
from jettison.graphs.stored_weights import first_rows

__all__ = ["COLUMNS", "ROWS", "two_of_four"]

ROWS, COLUMNS = 32, 64
"""A weight's sizes must be multiples of these; both of PyTorch's backends then take it."""


def two_of_four(artifact: Artifact) -> bool | None:
    """Whether a matrix of a model is 2:4 as it came; `None` if none is of a size that could be.

    Only the first rows of each are looked at: a trained matrix has hardly a zero.
    """
    found = [_is_so(bits) for bits in first_rows(artifact, ROWS, COLUMNS)]
    return any(found) if found else None


def _is_so(bits: Array) -> bool:
    # Without the sign: a mask may leave -0.
    kept = (bits << 1).reshape(-1, 4) != 0
    return bool(kept.any() and kept.sum(axis=1).max() <= 2)
