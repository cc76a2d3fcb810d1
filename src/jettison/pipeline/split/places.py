"""Where each row of a use stands in the user's own file, so that a person can be shown it again.

Row numbers tell nothing about labels. They lie beside the encoded rows, not in the seal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from jettison import registry
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.files import write_atomically
from jettison.domain.function_source import ENDING, split_function
from jettison.domain.model import Model
from jettison.domain.record import file_digest
from jettison.domain.rows import Array
from jettison.domain.splits import Labels
from jettison.errors import DataError
from jettison.pipeline.split.division import Division
from jettison.pipeline.split.encoding import rows_of
from jettison.pipeline.split.files import with_files
from jettison.pipeline.split.governance import consented
from jettison.pipeline.split.labelling import label_rows
from jettison.pipeline.split.reading import read_file

_NUMBERS = "selection/_places.npz"
_FILES = "selection/_places.json"


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of one use as the user gave them.

    Attributes:
        location: the file that they come from.
        numbers: of each row in that file, from 0, shape (n,).
        table: the same rows, raw, in the order of the encoded ones.
        labels: targets, groups, units and weights, where the file has them.
    """

    location: str
    numbers: Array
    table: Example
    labels: Labels


def save_places(
    locations: Mapping[str, str], tables: Mapping[str, Example], division: Division, folder: Path
) -> None:
    """Writes the row numbers of each use, and the digest of the file that they count in.

    Args:
        locations: the file of each table; empty for rows that were given in Python.
        tables: by name, in the order in which `division` counts their rows.
        division: of the rows.
        folder: to write to.
    """
    starts: dict[str, int] = {}
    before = 0
    for name, table in tables.items():
        starts[name] = before
        before += table.n
    numbers: dict[str, Any] = {}
    for use in ("fitting", "selection", "certification"):
        index = getattr(division, use)
        numbers[use] = (
            index - starts["source" if "source" in tables else use] if len(index) else index
        )
    files = {}
    for name, location in locations.items():
        known = file_digest(location) if location and Path(location).is_file() else ""
        files[name] = {
            "location": _lasting(location),
            "digest": known,
        }
    with open(folder / _NUMBERS, "wb") as file:
        np.savez(file, **cast(Any, numbers))
    write_atomically(folder / _FILES, json.dumps(files, sort_keys=True))


def _lasting(location: str) -> str:
    """A place that is found again from another folder; a module is found by Python as it is."""
    function = split_function(location)
    module = function is not None and not function[0].endswith(ENDING)
    return location if module or not location else str(Path(location).absolute())


def read_again(
    section: DataSection, model: Model, folder: Path, use: str, *, labelled: bool
) -> RawRows:
    """Reads the rows of one use from the user's file again.

    Args:
        section: `data` of the run.
        model: whose classes the targets belong to; its encoder says whether rows are files.
        folder: where `load_data` wrote (`work/data` of a run).
        use: `selection` or `certification`.
        labelled: whether targets shall be read too.

    Raises:
        DataError: if the rows were given in Python, or the file is gone or was changed.
    """
    try:
        files = json.loads((folder / _FILES).read_text(encoding="utf-8"))
        with np.load(folder / _NUMBERS, allow_pickle=False) as stored:
            numbers = stored[use]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{folder} does not say where its {use} rows come from ({error}); run "
            "`jettison optimize` again with this version"
        ) from error
    name = "source" if "source" in files else use
    location = files.get(name, {}).get("location", "")
    if not location:
        raise DataError(
            f"the {use} rows of this run were given in Python, not as a file, so they can't be "
            "shown again; save them as parquet, csv or npz and name the file in `data`"
        )
    table = read_file(location, name)
    numbers = _in_file(numbers, consented(section, table, name))
    known = files[name]["digest"]
    if (known and file_digest(location) != known) or int(numbers.max(initial=-1)) >= table.n:
        raise DataError(
            f"{location} was changed after the run read it, so its row numbers no longer fit; "
            "restore the file, or run `jettison optimize` again"
        )
    rows = rows_of(table, numbers)
    if getattr(registry.get("encoders", model.encoder.kind), "takes_bytes", False):
        rows = with_files({name: rows}, {name: location}, section)[name]
    known_columns = DataSection(
        target=section.target if labelled else "",
        groups=section.groups,
        unit=section.unit,
        weight=section.weight,
    )
    labels = label_rows(rows, known_columns, model, f"`{name}`")
    return RawRows(location, numbers, rows, labels)


def _in_file(numbers: Array, consenting: Array) -> Array:
    """Row numbers of the file, from those among the rows that may be used.

    Those that lie beyond the end, because the file was changed, stay there.
    """
    known = numbers < len(consenting)
    return np.where(known, consenting[np.where(known, numbers, 0)], np.iinfo(np.int64).max)
