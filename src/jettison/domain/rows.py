"""`Rows`: encoded examples as memory-mapped `.npy` files, cut into batches as they are served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Batch = Mapping[str, Array]
"""Named arrays whose first dimension is the row."""

LENGTHS = "_lengths"


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded examples on disk, one file `<name>.npy` of shape (n, ...) per model input.

    Attributes:
        folder: absolute path of the files.
        names: the model inputs, in order.
        n: number of rows.
        pad: inputs whose second axis is ragged, with the value that fills it. Their true lengths
            lie in `_lengths.npy`; a batch is cut to the longest row in it, as a server would pad.
        digest: SHA-256 over the row contents in order.
    """

    folder: str
    names: tuple[str, ...]
    n: int
    pad: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""

    def column(self, name: str) -> Array:
        """Opens one input, memory-mapped, shape (n, ...)."""
        column: Array = np.load(
            Path(self.folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False
        )
        return column

    def lengths(self) -> Array | None:
        """The true length of each row, shape (n,), or `None` when nothing is ragged."""
        return self.column(LENGTHS) if self.pad else None

    def batch(self, index: slice | Array) -> dict[str, Array]:
        """Reads some rows, cut to the longest of them where rows are ragged."""
        arrays = {name: np.asarray(self.column(name)[index]) for name in self.names}
        lengths = self.lengths()
        if lengths is not None and len(lengths[index]):
            longest = max(1, int(lengths[index].max()))
            for name in self.pad:
                arrays[name] = arrays[name][:, :longest]
        return arrays

    def of_length(self, index: Array, length: int) -> dict[str, Array]:
        """Reads some rows, ragged inputs cut or filled up to one length."""
        arrays = {name: np.asarray(self.column(name)[index]) for name in self.names}
        for name, value in self.pad.items():
            cut = arrays[name][:, :length]
            missing = [(0, 0)] * cut.ndim
            missing[1] = (0, length - cut.shape[1])
            arrays[name] = np.pad(cut, missing, constant_values=cut.dtype.type(value))
        return arrays

    def nearest(self, length: int) -> Array:
        """The rows in the order of how near their length is to this one."""
        lengths = self.lengths()
        if lengths is None:
            return np.arange(self.n)
        found: Array = np.argsort(np.abs(lengths[: self.n] - length), kind="stable")
        return found

    def batches(self, size: int, limit: int | None = None) -> Iterator[dict[str, Array]]:
        """Reads the rows in order, `size` at a time; the last batch may be smaller."""
        n = self.n if limit is None else min(limit, self.n)
        for start in range(0, n, size):
            yield self.batch(slice(start, min(start + size, n)))
