"""How many rows of each group a data file would seal; targets are not read."""

from __future__ import annotations

import numpy as np

from jettison.assessment.data_plan import Held
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.errors import UsageError
from jettison.pipeline.split.division import FITTING_SHARE, SELECTION_SHARE
from jettison.pipeline.split.governance import consenting
from jettison.pipeline.split.labelling import (
    check_columns,
    group_columns,
    group_parts,
    joined_group,
    text_of,
)
from jettison.pipeline.split.reading import read_file

SEALED_SHARE = 1.0 - FITTING_SHARE - SELECTION_SHARE


def held_rows(section: DataSection) -> Held:
    """Counts rows (or units) of the whole and of each group.

    A `certification` file is sealed whole; one `source` seals about 80 % of its units.

    Raises:
        DataError: if the file can't be read, or lacks a column that is named.
        UsageError: if groups are named, but no file.
    """
    location = section.certification or section.source
    if not location:
        if section.groups or section.unit:
            raise UsageError(
                "groups and units are counted in a file: give --data (one file that will be "
                "divided) or --certification (a file that will be sealed whole)"
            )
        return Held()
    role = "certification" if section.certification else "source"
    # A run seals no row without consent.
    table = consenting(section, {role: read_file(location, role)})[0][role]
    grouped = group_columns(section.groups, table.columns)
    check_columns(table, (*grouped, section.unit), f"`{role}`")
    share = 1.0 if section.certification else SEALED_SHARE
    units = text_of(_flat(table, section.unit)) if section.unit else None
    whole = table.n if units is None else len(np.unique(units))
    groups: dict[str, int] = {}
    for column in section.groups:
        parts = group_parts(column, table.columns)
        values = joined_group([text_of(_flat(table, part)) for part in parts])
        for value in np.unique(values):
            mine = values == value
            n = int(mine.sum()) if units is None else len(np.unique(units[mine]))
            groups[f"{column}={value}"] = int(share * n)
    counted = "rows" if units is None or whole == table.n else "units"
    note = f"Held: the {counted} of {location}."
    if share < 1.0:
        note = (
            f"Held: about {share:.0%} of the {counted} of {location}, which one file seals; "
            "copies of a row count once in a run."
        )
    return Held(int(share * whole), groups, "rows" if counted == "rows" else "units", note)


def _flat(table: Example, name: str) -> Array:
    values = table.columns[name]
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
