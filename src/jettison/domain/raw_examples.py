"""A few raw examples on disk, so that a worker can time the encoder on them.

Number columns lie in `numbers.npz`, all others (text, missing values) in `values.json`.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.extension_points import Example
from jettison.domain.files import write_atomically
from jettison.domain.rows import Array
from jettison.errors import DataError

LIMIT = 64
"""Raw examples that are kept at most."""

_NUMBERS = "numbers.npz"
_VALUES = "values.json"


def write_raw(examples: Example, folder: Path) -> None:
    """Writes the first `LIMIT` examples into a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    n = min(examples.n, LIMIT)
    numbers: dict[str, Any] = {}
    values: dict[str, list[object]] = {}
    for name, column in examples.columns.items():
        if column.dtype.kind in "biuf":
            numbers[name] = column[:n]
        else:
            values[name] = [_in_json(value) for value in column[:n].tolist()]
    with open(folder / _NUMBERS, "wb") as file:
        # The names are stored apart: a column may be called like an argument of `savez`.
        np.savez(file, **{str(place): numbers[name] for place, name in enumerate(numbers)})
    text = json.dumps({"n": n, "numbers": list(numbers), "values": values}, ensure_ascii=False)
    write_atomically(folder / _VALUES, text)


def _in_json(value: object) -> object:
    """Bytes as base64 text, which is how an encoder gets them in a request too; arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def read_raw(folder: Path) -> Example:
    """Reads what `write_raw` wrote; text columns come back as arrays of `object`.

    Raises:
        DataError: if the folder holds no raw examples.
    """
    try:
        stored = json.loads((folder / _VALUES).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no raw examples; they are written when the data is read"
        ) from error
    columns: dict[str, Array] = {}
    with np.load(folder / _NUMBERS, allow_pickle=False) as numbers:
        for place, name in enumerate(stored["numbers"]):
            columns[name] = numbers[str(place)]
    for name, values in stored["values"].items():
        column = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            column[row] = value
        columns[name] = column
    return Example(columns, stored["n"])
