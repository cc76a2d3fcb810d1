"""Columns from lists and arrays of Python values: JSON, rows of functions, and objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.ragged_columns import column_of, holds_arrays


def list_column(values: list[Any], where: str) -> Array:
    """A column of JSON values; lists of different lengths stay arrays of their own."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, dict) for value in known):
        raise DataError(f"{where} holds objects; give numbers, text or lists of numbers")
    if not known or not isinstance(known[0], list | tuple | np.ndarray):
        return plain_column(values, where)
    if len(known) < len(values):
        raise DataError(
            f"{where} has {len(values) - len(known)} missing lists; drop or fill those rows"
        )
    return _lists(values, where)


def _lists(values: Sequence[Any], where: str) -> Array:
    """Lists of numbers: stacked where they have one shape, else arrays of their own."""
    try:
        rows = [np.asarray(value) for value in values]
    except ValueError as error:
        raise DataError(f"{where} holds lists of lists of different lengths: {error}") from error
    odd = next((row for row, v in enumerate(rows) if v.size and v.dtype.kind not in "biuf"), None)
    if odd is not None and len({row.shape for row in rows}) > 1:
        raise DataError(
            f"{where} holds lists of different lengths with other values than numbers (row {odd}: "
            "text, or a missing value); fill them in, or give every row the same number"
        )
    trailing = {row.shape[1:] for row in rows if row.size}
    if len(trailing) > 1 and len({row.ndim for row in rows}) > 1:
        raise DataError(f"{where} holds lists of different depth; give every row one shape")
    if len({row.shape for row in rows}) == 1:
        return plain_column(np.stack(rows), where)
    return column_of(rows)


def plain_column(values: Any, where: str) -> Array:
    """One array of one type; refuses a mixture of text and numbers, says where it begins."""
    if isinstance(values, list | tuple) and values and all(isinstance(v, bytes) for v in values):
        # NumPy's own type for bytes would drop zeros at their end.
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    if isinstance(values, list | tuple) and any(map(_is_list, values)):
        odd = next((row for row, v in enumerate(values) if not _is_list(v)), None)
        if odd is not None:
            raise DataError(
                f"{where} mixes lists and other values (row {odd} holds {values[odd]!r}); give "
                "every row a list"
            )
        sizes: set[Any] = {v.shape if isinstance(v, np.ndarray) else len(v) for v in values}
        if len(sizes) > 1:
            return _lists(values, where)
    column = _array(values, where)
    if column.dtype.kind in "biuf":
        return column
    if column.dtype.kind == "U":
        column = column.astype(object)
    if column.dtype.kind != "O":
        raise DataError(f"{where} has dtype {column.dtype}; allowed: numbers, text, true and false")
    if holds_arrays(column):
        bare = all(isinstance(v, bytes) for v in column.tolist())
        return column if bare else _lists(column.tolist(), where)
    each = max(1, column.size // max(1, (column.shape or (1,))[0]))
    known = [(place // each, v) for place, v in enumerate(column.ravel()) if _is_known(v)]
    texts = [isinstance(v, str) for _, v in known]
    if any(texts) and not all(texts):
        row, odd = next(one for one, text in zip(known, texts, strict=True) if text != texts[0])
        raise DataError(
            f"{where} mixes text and other values (row {row} holds {odd!r}); make it text only or "
            "numbers only"
        )
    if any(texts):
        _refuse_halves(known, where)
        kept = [v if isinstance(v, str) else None for v in column.ravel()]
        return column_of(kept).reshape(column.shape)
    return _numbers(column, known, where)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_known(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (value is not None and bool(value == value))


def _array(values: Any, where: str) -> Array:
    if isinstance(values, list | tuple) and any(isinstance(v, str) for v in values):
        # NumPy would make all texts as wide as the longest, and texts of numbers among them.
        return column_of(values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"{where} holds lists of different depth or length: {error}") from error


def _refuse_halves(texts: list[tuple[int, Any]], where: str) -> None:
    """Refuses text with half of a surrogate pair, as a cut emoji leaves in JSON: no file holds it."""
    for row, text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{where} holds half of a character ({text[error.start]!r}) in row {row}; take it "
                "out, or replace it: text.encode('utf-8', 'replace').decode()"
            ) from error


def _numbers(column: Array, known: list[tuple[int, Any]], where: str) -> Array:
    for row, value in known:
        if not isinstance(value, bool | int | float | np.number | np.bool_):
            raise DataError(
                f"{where} holds a `{type(value).__name__}` in row {row}; allowed: numbers, text, "
                "true and false"
            )
    if known and len(known) == column.size:
        return np.asarray(column.tolist())
    return column.astype(float) if known else column
