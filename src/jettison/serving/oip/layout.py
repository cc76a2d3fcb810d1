"""`Layout`: where the raw tensors of a call lie, kept from one call to the next.

A client that sends raw tensors sends the same JSON before them again and again. Read once, it says
where each tensor begins, of which type and shape it is, and whether the model takes that. Only the
very same bytes are taken for the same; only the values remain to be checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jettison.domain.rows import Array

if TYPE_CHECKING:
    from jettison.serving.oip.signature import Wanted
    from jettison.serving.requests import Priority

KEPT = 256
"""Layouts of one model that are kept; the one that came first goes first."""

LONGEST_HEADER = 4096
"""Bytes of JSON; longer ones are read each time."""


class Piece(NamedTuple):
    """One raw tensor: the bytes from `first` up to `end` behind the JSON."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    first: int
    end: int


class Layout:
    """What one JSON header says.

    Attributes:
        pieces: the raw tensors, in order.
        size_bytes: of all of them.
        outputs, priority, timeout_seconds: as in `InferCall`.
        rows: how many, once the model was seen to take these names, types and shapes; else 0.
    """

    __slots__ = ("outputs", "pieces", "priority", "rows", "size_bytes", "timeout_seconds")

    def __init__(
        self,
        pieces: Sequence[Piece],
        outputs: tuple[Wanted, ...],
        priority: Priority,
        timeout_seconds: float | None,
    ) -> None:
        self.pieces = tuple(pieces)
        self.size_bytes = max((piece.end for piece in pieces), default=0)
        self.outputs = outputs
        self.priority = priority
        self.timeout_seconds = timeout_seconds
        self.rows = 0

    def arrays(self, body: bytes, start: int) -> Mapping[str, Array]:
        """The tensors, each over bytes of its own, so that none lies across the words of memory.

        Args:
            body: with exactly `size_bytes` from `start`.
            start: where the JSON ends.
        """
        return {
            name: np.ndarray(shape, dtype, body[start + first : start + end])
            for name, dtype, shape, first, end in self.pieces
        }
