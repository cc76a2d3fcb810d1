"""Columns whose rows are arrays of different lengths: told apart, cast, and padded on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jettison.domain.model import TensorSpec
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.casting import cast_column


def holds_arrays(column: Array) -> bool:
    """Whether each row of a column is an array of its own, or bytes, of any length."""
    if column.dtype != object or column.ndim != 1 or not len(column):
        return False
    return all(isinstance(value, np.ndarray | bytes | list) for value in column.tolist())


def column_of(values: Sequence[Any]) -> Array:
    """Gives one row for each value, whatever the values are (NumPy would stack arrays)."""
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    return column


def cast_ragged(
    column: Array, spec: TensorSpec, where: str, files: Sequence[str] = ()
) -> list[Array]:
    """Casts each row for an input whose second dimension is free; bytes are numbers 0 to 255.

    Args:
        column: of `holds_arrays`.
        spec: shape (batch, free, ...).
        where: names the column in errors.
        files: of each row, or none; they are named in errors.

    Returns:
        Arrays of shape (length, ...) with the dtype of the input.

    Raises:
        DataError: for a row without entries, of other trailing sizes, or that can't be cast.
    """
    rows = [as_numbers(value) for value in column.tolist()]
    wanted = spec.shape[2:]
    named = [f"row {row}" + (f" ({files[row]})" if files else "") for row in range(len(rows))]
    for row, values in enumerate(rows):
        if values.ndim and not len(values):
            raise DataError(
                f"{where} has no entry at {named[row]} (length 0), of which the model can't make an "
                f"answer (input `{spec.name}`): drop the row"
            )
        fits = values.ndim == len(wanted) + 1 and all(
            isinstance(size, str) or size == found
            for size, found in zip(wanted, values.shape[1:], strict=True)
        )
        if not fits:
            sizes = ", ".join(str(size) for size in spec.shape[1:])
            raise DataError(
                f"{where} has shape {values.shape} at {named[row]}, but a row of input `{spec.name}` "
                f"has ({sizes}): reshape it, or name other columns in `data.inputs`"
            )
    lengths = [len(values) for values in rows]
    try:
        whole = cast_column(np.concatenate(rows), spec, where)
    except DataError:
        for place, values in zip(named, rows, strict=True):
            cast_column(values, spec, f"{place} of {where}, its entries counted as rows,")
        raise
    return np.split(whole, np.cumsum(lengths)[:-1])


def padded(rows: Sequence[Array], value: float) -> Array:
    """Fills rows of shape (length, ...) on the right up to the longest: shape (n, longest, ...)."""
    longest = max(len(values) for values in rows)
    made = np.full((len(rows), longest, *rows[0].shape[1:]), value, dtype=rows[0].dtype)
    for row, values in enumerate(rows):
        made[row, : len(values)] = values
    return made


def as_numbers(value: Any) -> Array:
    """An array of a row; bytes are numbers 0 to 255."""
    if isinstance(value, bytes):
        return np.frombuffer(value, dtype=np.uint8)
    return np.asarray(value)
