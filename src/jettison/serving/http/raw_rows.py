"""JSON rows -> columns, as an encoder takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.errors import RequestRefused

NUMBERS = frozenset({bool, int, float, type(None)})
TEXTS = frozenset({str, type(None)})
DEEPEST = 8
LARGEST_TEXT_BYTES = 256 * 1024 * 1024
"""Texts of one column may become an array as wide as the longest of them."""
_BYTES_A_LETTER = 4


def columns_of(rows: Sequence[Any], encoder: Encoder) -> Example:
    """Turns rows into columns.

    A row is an object (column -> value; columns that the model doesn't read are passed over), a
    list with the values of the columns in order, or, for an encoder that reads one column, the
    value itself.

    Args:
        rows: at least one.
        encoder: of the bundle; its setting `columns` says which columns it reads.

    Raises:
        RequestRefused: `shape`, with the row, the column and what is allowed.
    """
    settled = encoder.settings.get("columns")
    names = [str(name) for name in settled] if isinstance(settled, list) else []
    if isinstance(rows[0], dict):
        names = names or list(rows[0])
        columns = {name: _from_objects(rows, name, names) for name in names}
    elif len(names) == 1:
        columns = {names[0]: list(rows)}
    elif names:
        columns = _from_lists(rows, names)
    else:
        raise RequestRefused("shape", "each of `rows` must be an object, column -> value")
    return Example({name: _column(values, name) for name, values in columns.items()}, len(rows))


def _from_objects(rows: Sequence[Any], name: str, names: Sequence[str]) -> list[Any]:
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or name not in row:
            raise RequestRefused(
                "shape",
                f"row {place} has no `{name}`; the model reads "
                f"{', '.join(f'`{known}`' for known in names)} (null stands for a missing value)",
            )
    return [row[name] for row in rows]


def _from_lists(rows: Sequence[Any], names: Sequence[str]) -> dict[str, list[Any]]:
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise RequestRefused(
                "shape",
                f"row {place} must be an object with, or a list of, the {len(names)} columns "
                f"{', '.join(f'`{name}`' for name in names)}",
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _column(values: list[Any], name: str) -> Array:
    types = set(map(type, values))
    if types <= NUMBERS and types != {type(None)}:
        return _numbers(values, types)
    if types == {list}:
        leaves = set(_leaf_types(values, name, 0))
        if not leaves <= NUMBERS:
            raise RequestRefused("shape", f"column `{name}` holds lists of something but numbers")
    elif types <= TEXTS:
        longest = max((len(value) for value in values if value is not None), default=0)
        if longest * len(values) * _BYTES_A_LETTER > LARGEST_TEXT_BYTES:
            raise RequestRefused(
                "too large",
                f"column `{name}` holds {len(values)} texts, one of {longest} letters; send long "
                "texts in requests of their own",
            )
    else:
        raise RequestRefused(
            "shape", f"column `{name}` mixes numbers, texts, lists or objects; send one kind"
        )
    column = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        # One by one: NumPy would take a list of lists for a matrix.
        column[place] = value
    return column


def _numbers(values: list[Any], types: set[type]) -> Array:
    # Whole numbers stay whole: as floats, large ones would be rounded before they are checked.
    if types <= {bool} or types <= {int}:
        return np.array(values)
    return np.array(values, dtype=np.float64)


def _leaf_types(values: list[Any], name: str, depth: int) -> Iterator[type]:
    if depth > DEEPEST:
        raise RequestRefused("shape", f"column `{name}` is nested deeper than {DEEPEST} lists")
    for value in values:
        if type(value) is list:
            yield from _leaf_types(value, name, depth + 1)
        else:
            yield type(value)
