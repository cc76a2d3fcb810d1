"""Answers all rows, and leaves the outputs on disk as memory-mapped `.npy` files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.extension_points import Runner
from jettison.domain.files import new_array
from jettison.domain.jobs import Scored, output_file
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.errors import CandidateFailed
from jettison.worker.ragged import OwnLengths, filled, widest

BLOCK = 256
"""Rows that are copied at once when an output turns out to be longer."""


def score(runner: Runner, model: Model, rows: Rows, folder: Path, batch_size: int) -> Scored:
    """Runs all rows in order, `batch_size` at a time.

    Where rows are ragged, so may outputs be: they are cut back to the length of their row and
    filled with zeros to the longest. Other outputs whose shape varies are left out.

    Raises:
        CandidateFailed: if the output that metrics read is among those, is missing, or does not
            have one entry per row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    tables: dict[str, Table] = {}
    place = 0
    own = OwnLengths.of(model, rows)
    for batch in rows.batches(own.batch_size(batch_size)):
        count = len(next(iter(batch.values())))
        answer = runner.run(batch)
        if place == 0:
            ragged = bool(rows.pad)
            tables = {name: Table(output_file(folder, name), rows.n, ragged) for name in answer}
        for name, values in answer.items():
            if len(values) != count:
                raise CandidateFailed(
                    f"output `{name}` has {len(values)} entries for a batch of {count} rows"
                )
            tables[name].put(place, own.cut(name, np.asarray(values), place))
        place += count
    kept = tuple(sorted(name for name, table in tables.items() if table.close()))
    if model.prediction not in kept:
        raise CandidateFailed(
            f"the output `{model.prediction}` can't be read row by row: the model gave "
            f"{sorted(tables)}, of which {list(kept)} have one shape for all rows"
        )
    return Scored(str(folder), kept, rows.n, time.monotonic() - begun)


class Table:
    """One output of all rows. Numbers go to disk at once; text is gathered and saved at the end.

    Args:
        path: of the file.
        rows: how many there will be.
        ragged: whether the shape may grow from batch to batch; smaller rows are filled with zeros.
    """

    def __init__(self, path: Path, rows: int, ragged: bool) -> None:
        self._path = path
        self._rows = rows
        self._ragged = ragged
        self._numbers: np.memmap[Any, Any] | None = None
        self._text: list[str] = []
        self._regular = True

    def put(self, place: int, values: Array) -> None:
        """Stores the rows from `place` on."""
        if not self._regular:
            return
        if values.dtype.kind in "OUS":
            if values.ndim > 1 and values.size != len(values):
                self._regular = False
                return
            self._text.extend(str(value) for value in values.ravel())
            return
        if self._numbers is None:
            self._numbers = new_array(self._path, values.dtype, (self._rows, *values.shape[1:]))
        if self._ragged and values.ndim == self._numbers.ndim:
            shape = widest(values.shape[1:], self._numbers.shape[1:])
            self._grow(shape, place)
            values = filled(values, shape)
        if values.shape[1:] != self._numbers.shape[1:]:
            self._regular = False
            return
        self._numbers[place : place + len(values)] = values

    def _grow(self, shape: tuple[int, ...], held: int) -> None:
        """Makes a wider file and puts the rows so far into it, block by block."""
        old = self._numbers
        if old is None or old.shape[1:] == shape:
            return
        wide = new_array(self._path.with_suffix(".wide"), old.dtype, (self._rows, *shape))
        for start in range(0, held, BLOCK):
            end = min(held, start + BLOCK)
            wide[start:end] = filled(old[start:end], shape)
        self._path.with_suffix(".wide").replace(self._path)
        self._numbers = wide

    def close(self) -> bool:
        """Finishes the file; removes it and gives `False` if the shape varied."""
        if not self._regular:
            self._numbers = None
            self._path.unlink(missing_ok=True)
            return False
        if self._numbers is None:
            np.save(self._path, np.array(self._text, dtype=np.str_), allow_pickle=False)
            return True
        self._numbers.flush()
        self._numbers = None
        return True
