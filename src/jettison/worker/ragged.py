"""Outputs that are as long as their row: cut back to the row's own length, and filled with zeros.

A server cuts each answer back to the length of its request (`serving.grouping`), so what a model
says about padding reaches nobody. Rows are compared and scored the same way: places beyond a row's
own length hold 0, whatever the model said there and however long its neighbours were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows


@dataclass(frozen=True, slots=True)
class OwnLengths:
    """Which axes of the outputs are as long as the rows, and how long each row is.

    Attributes:
        axes: output -> axes that a ragged input has too.
        untold: whether some output has a free axis that no input has (sound that was subsampled):
            its own length can't be told, so a server pads no rows for one another.
        lengths: of all rows, shape (n,); `None` where nothing is ragged.
    """

    axes: Mapping[str, tuple[int, ...]]
    untold: bool
    lengths: Array | None

    @classmethod
    def of(cls, model: Model, rows: Rows) -> OwnLengths:
        """Reads the names of free axes, which inputs and outputs share."""
        ragged = {str(spec.shape[1]) for spec in model.inputs if spec.name in rows.pad}
        known = {size for spec in model.inputs for size in spec.shape[1:]}
        free = [(s.name, a, n) for s in model.outputs for a, n in enumerate(s.shape[1:], start=1)]
        axes: dict[str, tuple[int, ...]] = {}
        for name, axis, size in free:
            if str(size) in ragged:
                axes[name] = (*axes.get(name, ()), axis)
        untold = any(isinstance(size, str) and size not in known for _, _, size in free)
        return cls(axes, bool(rows.pad) and untold, rows.lengths())

    def batch_size(self, asked: int) -> int:
        """How many rows are padded for one another: as a server would, one where it can't."""
        return 1 if self.untold else asked

    def cut_all(self, answer: Mapping[str, Array], rows: int | Array) -> dict[str, Array]:
        """`cut` for each output of an answer."""
        return {name: self.cut(name, np.asarray(values), rows) for name, values in answer.items()}

    def cut(self, name: str, values: Array, rows: int | Array) -> Array:
        """Puts 0 where rows have ended; text stays as it is.

        Args:
            name: of the output.
            values: rows first.
            rows: number of the first of them, or the number of each.
        """
        if self.lengths is None or name not in self.axes or values.dtype.kind not in "biuf":
            return values
        own = self.lengths[slice(rows, rows + len(values)) if isinstance(rows, int) else rows]
        for axis in self.axes[name]:
            if axis >= values.ndim:
                continue
            over = np.arange(values.shape[axis]) >= own[:, None]
            shape = [1] * values.ndim
            shape[0], shape[axis] = over.shape
            values = np.where(over.reshape(shape), values.dtype.type(0), values)
        return values


def filled(values: Array, shape: tuple[int, ...]) -> Array:
    """Gives rows of numbers a larger trailing shape, filled with zeros; others stay as they are."""
    larger = len(shape) == values.ndim - 1 and all(
        size >= own for size, own in zip(shape, values.shape[1:], strict=False)
    )
    if values.shape[1:] == shape or not larger or values.dtype.kind not in "biuf":
        return values
    wide = np.zeros((len(values), *shape), dtype=values.dtype)
    wide[tuple(slice(size) for size in values.shape)] = values
    return wide


def widest(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest trailing shape that holds both; they have the same number of axes."""
    return tuple(max(pair) for pair in zip(first, second, strict=True))
