"""`Rows`: encoded examples as memory-mapped `.npy` files, cut into batches as they are served."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Batch = Mapping[str, Array]
"""Named arrays whose first dimension is the row."""

LENGTHS = "_lengths"

_IN_NAMES = " !\"#$&'()*+,-.:;<=>?@[]^_`{|}~"
"""Characters besides letters and digits that stand in the name of a file as they are."""

_LONGEST = 180
"""Characters of a file name that is not shortened; file systems end at 255 bytes."""


def column_file(folder: str | Path, name: str) -> Path:
    """The `.npy` file of an input: always in the folder, and another for every name.

    Names come from models, so they may hold slashes, and may be long. A name that begins with `_`
    is written otherwise, because the files beside the inputs do.

    >>> column_file("rows", "serving/../input:0").name, column_file("rows", "X").name
    ('serving%2F..%2Finput:0.npy', 'X.npy')
    >>> column_file("rows", "_targets").name, column_file("rows", LENGTHS).name
    ('%5Ftargets.npy', '_lengths.npy')
    """
    written = quote(name, safe=_IN_NAMES, errors="surrogatepass")
    if written.startswith("_") and name != LENGTHS:
        written = f"%5F{written[1:]}"
    if len(written) > _LONGEST:
        # No quoted name holds `%_`.
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        written = f"{written[: _LONGEST // 2]}%_{digest}"
    return Path(folder) / f"{written}.npy"


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded examples on disk, one file of shape (n, ...) per model input (`column_file`).

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
        column: Array = np.load(column_file(self.folder, name), mmap_mode="r", allow_pickle=False)
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
