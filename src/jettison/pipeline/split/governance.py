"""What the rows may be used for: uses that were declared, consent row by row, columns not needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.domain.splits import Labels
from jettison.errors import DataError
from jettison.pipeline.split.encoding import rows_of
from jettison.pipeline.split.labelling import group_columns

NEEDS: Mapping[str, tuple[str, ...]] = {
    "source": ("calibration", "selection", "certification"),
    "fitting": ("calibration",),
    "selection": ("selection",),
    "certification": ("certification",),
}
"""What the rows of each table of a run are used for."""

YES, NO = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0", ""})

LISTED = 12


def check_uses(section: DataSection, tables: Mapping[str, Example]) -> None:
    """Refuses rows whose `allowed_uses` leave out what a run would do with them.

    Raises:
        DataError: says which use is not allowed, and what to give instead.
    """
    allowed = set(section.allowed_uses)
    if not allowed:
        return
    if "training" in allowed:
        # Rows that may change every weight may set the ranges of a few.
        allowed.add("calibration")
    wanted = [use for table in tables for use in NEEDS[table]]
    lacking = [use for use in wanted if use not in allowed]
    if lacking:
        listed = ", ".join(section.allowed_uses)
        raise DataError(
            f"`allowed_uses` in `data` allows {listed}, but this run would use the rows for "
            f"{' and '.join(lacking)} too; give a file for each use (`fitting`, `selection`, "
            "`certification`) with rows that may be used so, or ask for the permission"
        )


def consenting(
    section: DataSection, tables: Mapping[str, Example]
) -> tuple[dict[str, Example], tuple[str, ...]]:
    """Leaves out rows without consent, and the column that says so; one sentence for each table.

    A missing value is no consent.

    Raises:
        DataError: if the column is missing, holds something else than true and false, or nobody
            consents.
    """
    if not section.consent:
        return dict(tables), ()
    kept: dict[str, Example] = {}
    notes: list[str] = []
    for use, table in tables.items():
        rows = consented(section, table, use)
        rest = {name: c for name, c in table.columns.items() if name != section.consent}
        kept[use] = rows_of(Example(rest, table.n, table.files), rows)
        notes.append(
            f"{table.n - len(rows):,} of {table.n:,} rows of `{use}` were left out because "
            f"`{section.consent}` is not true."
        )
    return kept, tuple(notes)


def consented(section: DataSection, table: Example, use: str) -> Array:
    """Row numbers of a table that may be used, rising; all of them where no column says it.

    Raises:
        DataError: as `consenting`.
    """
    if not section.consent:
        return np.arange(table.n)
    if section.consent not in table.columns:
        raise DataError(
            f"`{use}` has no column `{section.consent}`, which `consent` in `data` names; it has: "
            + ", ".join(table.columns)
            + ". Add it, true in each row that may be used"
        )
    rows: Array = np.flatnonzero(_consent(table.columns[section.consent], section.consent, use))
    if not len(rows):
        raise DataError(
            f"in no row of `{use}` is `{section.consent}` true: nobody consents to the use of "
            "these rows"
        )
    return rows


def unused_columns(
    section: DataSection, tables: Mapping[str, Example], fed: Sequence[str]
) -> Iterator[str]:
    """Names the columns that nothing of the run keeps; one sentence, or none.

    They are read, because the ledger knows a row by a digest of all its values, so that the same
    rows under a model that reads other columns are known again; that digest is all that stays.
    """
    grouped = group_columns(section.groups, {n for t in tables.values() for n in t.columns})
    used = {*fed, section.target, section.unit, section.weight, *grouped}
    unused = sorted({name for table in tables.values() for name in table.columns} - used)
    if not unused:
        return
    shown = ", ".join(f"`{name}`" for name in unused[:LISTED])
    more = f" and {len(unused) - LISTED} more" if len(unused) > LISTED else ""
    verb = "column is" if len(unused) == 1 else "columns are"
    yield (
        f"{len(unused)} {verb} not used by the model and named nowhere, and no copy is kept: "
        f"{shown}{more}; leave them out of the file."
    )


def without_names(labels: Labels) -> Labels:
    """Replaces the names of units by numbers: which rows belong together is all that is needed.

    Numbers count from 0 by first appearance, so that the same rows have the same ones anywhere.
    """
    if labels.units is None:
        return labels
    numbers: dict[str, str] = {}
    units = [numbers.setdefault(name, str(len(numbers))) for name in labels.units.tolist()]
    return dataclasses.replace(labels, units=np.array(units, dtype=np.str_))


def _consent(values: Array, name: str, use: str) -> Array:
    """True where a row says so, shape (n,)."""
    if values.ndim == 1 and values.dtype.kind == "b":
        return values
    texts = [_text(value) for value in values.tolist()] if values.ndim == 1 else ["?"]
    odd = next((row for row, text in enumerate(texts) if text not in YES | NO), None)
    if odd is not None:
        raise DataError(
            f"row {odd} of the column `{name}` of `{use}` holds {values[odd]!r}; `consent` takes "
            "true and false, yes and no, or 1 and 0 (a missing value is no consent)"
        )
    return np.array([text in YES for text in texts])


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip().lower()
