"""`jettison find`: writes exemplars and slices of a run, and adds slices to the next data."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np

from jettison.assessment.conditions import holds
from jettison.assessment.label_files import inert
from jettison.assessment.search_rows import search_rows
from jettison.assessment.slices import find
from jettison.domain.files import write_atomically
from jettison.domain.found import Found
from jettison.domain.record import to_json
from jettison.errors import MissingDependency, UsageError
from jettison.pipeline.split.reading import read_file

FOLDER = "find"


def find_in(run: Path, recipe: str = "") -> Found:
    """Finds and writes `find/exemplars.csv` and `find/found.json` into the folder of a run.

    Raises:
        UsageError: if there is no such run or recipe.
        DataError: if the data is gone, was changed, or is too little.
    """
    found = find(search_rows(run, recipe))
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["row", "original_says", "candidate_says", "right_answer", "original_sure"])
    for one in found.exemplars:
        sure = "" if one.sure is None else f"{one.sure:.4f}"
        said = (inert(words) for words in (one.before, one.after, one.truth))
        writer.writerow([one.row, *said, sure])
    write_atomically(folder / "exemplars.csv", text.getvalue())
    write_atomically(folder / "found.json", to_json(found, indent=1))
    return found


def add_slices(found: Found, data: Path, out: Path) -> tuple[str, ...]:
    """Writes a data file again with a column `yes`/`no` for each slice that data alone can tell.

    Returns:
        The columns that were added.

    Raises:
        UsageError: if nothing can be added, or `out` exists or is no parquet file.
        DataError: if the data lacks a column that a slice needs.
        MissingDependency: if pandas is not installed.
    """
    slices = [one for one in found.slices if one.certifiable]
    if not slices:
        raise UsageError("no slice was found that data alone can tell, so there is none to add")
    if out.exists() or out.suffix != ".parquet":
        raise UsageError(f"{out} must be a new file that ends in .parquet")
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependency(
            "writing parquet needs pandas; run: pip install 'jettison[data]'"
        ) from error
    table = read_file(str(data), "--add-to")
    taken = [one.name for one in slices if one.name in table.columns]
    if taken:
        raise UsageError(f"{data} has the column `{taken[0]}` already; rename it")
    columns = {name: [_plain(v) for v in values] for name, values in table.columns.items()}
    for one in slices:
        inside = np.logical_and.reduce([holds(c, table) for c in one.conditions])
        columns[one.name] = np.where(inside, "yes", "no").tolist()
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        pd.DataFrame(columns).to_parquet(beside)
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    return tuple(one.name for one in slices)


def _plain(value: object) -> object:
    """A value as parquet takes it: an array of several axes is lists of lists there."""
    return value.tolist() if isinstance(value, np.ndarray) and value.ndim > 1 else value


def config_lines(found: Found, groups: tuple[str, ...]) -> str:
    """The lines of jettison.toml that would certify the slices on the next sealed rows."""
    slices = [one for one in found.slices if one.certifiable]
    if not slices:
        return ""
    named = (*groups, *(one.name for one in slices))
    names = ", ".join(json.dumps(name, ensure_ascii=False) for name in named)
    # A value of the data may hold a line end, which would end the comment.
    meaning = "\n".join(f"# {one.name}: {' '.join(str(one).split())}" for one in slices)
    return f"{meaning}\n# in `data`, over rows that no search has seen:\ngroups = [{names}]"
