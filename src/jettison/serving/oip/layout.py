"""What the calls of one client have in common, kept from one call to the next.

A client that sends raw tensors sends the same JSON before them again and again; one that sends
numbers as JSON, the same JSON around them. Read once, it says where each tensor lies, of which type
and shape it is, and whether the model takes that. Only the very same bytes are taken for the same;
only the values remain to be read and checked.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jettison.domain.rows import Array

if TYPE_CHECKING:
    from jettison.serving.oip.signature import Wanted
    from jettison.serving.requests import Priority

_FLOATS = {float}
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


class NumberForm:
    """JSON around one list of numbers: everything of a call but its values.

    A call whose JSON begins and ends as one that was read before differs from it in that list alone,
    provided that what lies between is a list of numbers by itself.

    Attributes:
        name, dtype, shape: of the only tensor.
        count: numbers that it takes.
        layout: what the rest says, and whether the model takes it.
    """

    __slots__ = ("_packed", "count", "dtype", "layout", "name", "shape")

    def __init__(self, piece: Piece, layout: Layout) -> None:
        self.name = piece.name
        self.dtype = piece.dtype
        self.shape = piece.shape
        self.layout = layout
        self.count = math.prod(piece.shape)
        self._packed = struct.Struct(f"{self.count}{piece.dtype.char}")

    def arrays(self, numbers: object) -> Mapping[str, Array] | None:
        """The tensor, or `None` for anything but as many floats as it takes, all in range."""
        if type(numbers) is not list or len(numbers) != self.count:
            return None
        if set(map(type, numbers)) != _FLOATS:
            return None
        try:
            packed = self._packed.pack(*numbers)
        except OverflowError:
            return None
        return {self.name: np.ndarray(self.shape, self.dtype, packed)}


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
