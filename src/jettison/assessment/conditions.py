"""Plain conditions on raw rows: values of columns, numbers above or below, lengths of texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.found import Condition
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.ragged_columns import holds_arrays
from jettison.pipeline.split.labelling import group_columns, missing_rows, text_of
from jettison.pipeline.split.places import RawRows

FEW_VALUES = 12
QUARTILES = (0.25, 0.5, 0.75)
SURE = (0.6, 0.8, 0.95)


def conditions_of(
    raw: RawRows, section: DataSection, proposing: Array, sure: Array | None
) -> tuple[Condition, ...]:
    """Conditions to try, from the rows that propose alone.

    Args:
        raw: rows.
        section: says which columns are identifiers or weights, and so no slice.
        proposing: which rows propose, shape (n,) of bool.
        sure: probability of the original's answer, shape (n,), or `None`.
    """
    made: list[Condition] = []
    apart = {section.unit, section.weight, section.consent}
    named = (*group_columns(section.groups, raw.table.columns), section.target)
    for name, column in raw.table.columns.items():
        if column.ndim == 1 and name not in apart:
            made += _about(name, column[proposing], named=name in named)
    if sure is not None:
        made += [Condition("", "sure below", level) for level in SURE]
    return tuple(made)


def holds(condition: Condition, table: Example, sure: Array | None = None) -> Array:
    """Which rows meet a condition, shape (n,) of bool.

    Raises:
        DataError: if the table lacks the column.
    """
    if condition.test == "sure below":
        if sure is None:
            raise DataError(f"«{condition}» can't be told from data alone")
        return sure < float(condition.value)
    if condition.column not in table.columns:
        raise DataError(f"the data has no column `{condition.column}`, which «{condition}» needs")
    column = table.columns[condition.column]
    if condition.test == "is":
        return np.asarray(text_of(column) == str(condition.value))
    if condition.test.startswith("words"):
        numbers = _words(column)
    elif column.dtype.kind in "biuf":
        numbers = column.astype(np.float64)
    else:
        raise DataError(f"the column `{condition.column}` holds no numbers, as «{condition}» needs")
    # A row without a value is on neither side.
    value = float(condition.value)
    at_least = condition.test.endswith("at least")
    return np.asarray(numbers >= value if at_least else numbers < value)


def _about(name: str, column: Array, *, named: bool) -> Iterator[Condition]:
    if holds_arrays(column):
        return  # No person tells a picture or a sound by its values.
    values = _values(column)
    if named or len(values) <= FEW_VALUES:
        if len(values) > 1:
            yield from (Condition(name, "is", value) for value in values)
    elif column.dtype.kind in "iuf":
        yield from _split(name, column.astype(np.float64), "")
    elif any(isinstance(v, str) and " " in v for v in column[:50]):
        yield from _split(name, _words(column), "words ")


def _values(column: Array) -> list[str]:
    """Its different values as texts. NumPy would make all texts as wide as the longest."""
    if column.dtype.kind == "O":
        return sorted({str(value) for value in column.tolist()})
    return sorted(set(text_of(column).tolist()))


def _split(name: str, numbers: Array, prefix: str) -> Iterator[Condition]:
    known = numbers[np.isfinite(numbers)]
    for cut in sorted({float(c) for c in np.quantile(known, QUARTILES)}) if len(known) else ():
        for side in ("at least", "below"):
            yield Condition(name, f"{prefix}{side}", cut)  # type: ignore[arg-type]


def _words(column: Array) -> Array:
    """Words of each text; NaN without one."""
    missing = set(missing_rows(column).tolist())
    counts = [np.nan if i in missing else len(str(v).split()) for i, v in enumerate(column)]
    return np.array(counts, np.float64)
