"""Groups, units and weights of opened rows, kept while a person labels some of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import numpy as np

from jettison.domain.files import write_atomically
from jettison.domain.record import file_digest
from jettison.domain.rows import Array
from jettison.domain.splits import Labels
from jettison.errors import CheckFailed


def save_known(labels: Labels, path: Path) -> str:
    """Writes everything but targets; gives the SHA-256 of the file."""
    columns = sorted(labels.groups)
    arrays: dict[str, Array] = {"columns": np.array(columns, dtype=np.str_)}
    for place, column in enumerate(columns):
        arrays[f"group_{place}"] = np.asarray(labels.groups[column], np.str_)
    if labels.units is not None:
        arrays["units"] = np.asarray(labels.units, np.str_)
    if labels.weights is not None:
        arrays["weights"] = np.asarray(labels.weights, np.float64)
    buffer = io.BytesIO()
    np.savez(buffer, **cast(Any, arrays))
    write_atomically(path, buffer.getvalue())
    return file_digest(path)


def load_known(path: Path) -> Labels:
    """Reads back what `save_known` wrote.

    Raises:
        CheckFailed: if the file can't be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = [str(column) for column in arrays["columns"]]
            groups = {column: arrays[f"group_{i}"] for i, column in enumerate(columns)}
            return Labels(None, groups, arrays.get("units"), arrays.get("weights"))
    except (OSError, ValueError, KeyError) as error:
        raise CheckFailed(f"{path} can't be read: {error}") from error
