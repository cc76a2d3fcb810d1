"""The file that a person labels, and the answers that come back. It never says which model said what."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jettison.assessment.pictures import picture_of
from jettison.domain.extension_points import Example
from jettison.domain.files import write_atomically
from jettison.domain.rows import Array
from jettison.errors import DataError

ROW, LABEL = "row", "label"
PICTURES = "pictures"
LONGEST_LIST = 64
"""Values of an array that are written out; longer ones are named by their shape."""

LONGEST_CELL = 2**31 - 1
"""The rows stand beside the answers, and a text may be longer than the 128 KiB that Python reads."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that spreadsheets take for a formula."""


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be labelled.

    Attributes:
        row: its number in the user's file, from 0.
        values: column -> what a person reads.
        pictures: column -> PNG, JPEG, ... bytes, for columns that are images.
    """

    row: int
    values: Mapping[str, str]
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def tasks_of(table: Example, rows: Sequence[int], columns: Sequence[str]) -> tuple[Task, ...]:
    """Describes raw rows for a person, in the order given.

    Args:
        table: raw rows, as many as `rows`.
        rows: their numbers in the user's file.
        columns: that feed the model; groups, units and weights are left out, so that they can't
            colour an answer.
    """
    made = []
    for place, row in enumerate(rows):
        values: dict[str, str] = {}
        pictures: dict[str, bytes] = {}
        for name in columns:
            value = table.columns[name][place]
            picture = picture_of(value)
            if picture is not None:
                pictures[name] = picture
                values[name] = f"{PICTURES}/{row}-{len(pictures)}.png"
            else:
                values[name] = _words(value)
        made.append(Task(int(row), values, pictures))
    return tuple(made)


def write_tasks(tasks: Sequence[Task], path: Path) -> None:
    """Writes the rows with an empty `label`; pictures go to a folder beside the file.

    Text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(tasks[0].values) if tasks else []
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([ROW, *(inert(_apart(name)) for name in columns), LABEL])
    for task in tasks:
        writer.writerow([task.row, *(inert(value) for value in task.values.values()), ""])
        for name, picture in task.pictures.items():
            target = path.parent / task.values[name]
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, picture)
    write_atomically(path, text.getvalue())


def write_answers(answers: Mapping[int, str], path: Path) -> None:
    """Writes answers as `row,label`, in the order given."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([ROW, LABEL])
    writer.writerows(answers.items())
    write_atomically(path, text.getvalue())


def read_answers(path: Path, asked: Sequence[int], *, complete: bool) -> dict[int, str]:
    """Reads answers back: any CSV with the columns `row` and `label`; others are ignored.

    Args:
        path: of the file.
        asked: rows that were asked for.
        complete: whether each of them must have an answer.

    Raises:
        DataError: all that is wrong at once: no such columns, rows that are unknown, named twice or
            (where `complete`) without an answer.
    """
    usual = csv.field_size_limit(LONGEST_CELL)
    try:
        # Spreadsheets put a byte order mark first.
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
            names = tuple(lines[0]) if lines else ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the answers {path} can't be read: {error}") from error
    finally:
        csv.field_size_limit(usual)
    if lines and not {ROW, LABEL} <= set(names):
        raise DataError(
            f"the answers {path} need the columns `{ROW}` and `{LABEL}`; it has "
            f"{', '.join(f'`{name}`' for name in names)}"
        )
    wanted = {str(row) for row in asked}
    found: dict[int, str] = {}
    unknown, twice = [], []
    for line in lines:
        row, label = (line[ROW] or "").strip(), (line[LABEL] or "").strip()
        if row not in wanted:
            unknown.append(row)
        elif int(row) in found:
            twice.append(row)
        else:
            found[int(row)] = label
    given = {row: label for row, label in found.items() if label}
    missing = [str(row) for row in asked if row not in given] if complete else []
    problems = [
        f"{len(rows)} rows {what} ({_some(rows)})"
        for what, rows in (
            ("are without a label", missing),
            ("were not asked for", unknown),
            ("stand there twice", twice),
        )
        if rows
    ]
    if problems:
        raise DataError(
            f"the answers {path} can't be used: {'; '.join(problems)}; {len(asked)} rows were "
            "asked for, each needs one label"
        )
    return given


def _apart(name: str) -> str:
    """An input column that is called like one of ours."""
    return f"{name} (input)" if name in (ROW, LABEL) else name


def inert(text: str) -> str:
    """Text as a spreadsheet shows it; a number is one whatever its sign."""
    if not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _words(value: object) -> str:
    if isinstance(value, np.ndarray):
        return _array_words(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return "" if value is None else str(value)


def _array_words(value: Array) -> str:
    if value.size == 1:
        return str(value.item())
    if value.size <= LONGEST_LIST:
        return json.dumps(value.tolist())
    return f"{value.dtype} {'x'.join(str(size) for size in value.shape)}"


def _some(rows: Sequence[str]) -> str:
    shown = ", ".join(rows[:5])
    return shown if len(rows) <= 5 else f"{shown}, ..."
