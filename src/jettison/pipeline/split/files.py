"""Rows that are files: a folder of images, or a column of paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.errors import DataError

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

IMAGE, LABEL = "image", "label"
"""Columns of a folder of images."""


def read_folder(folder: Path, where: str) -> dict[str, Array]:
    """Reads a folder of images: column `image` (bytes) and, from its subfolders, `label`.

    Rows are in the order of their paths. There is no `label` where the images lie in the folder
    itself.

    Raises:
        DataError: for a folder without images, or with images both in it and below it.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if not files:
        raise DataError(
            f"{where} is a folder without images ({', '.join(sorted(ENDINGS))}); give a file of "
            "rows, or a folder with one subfolder of images for each class"
        )
    parents = [file.parent.relative_to(folder).as_posix() for file in files]
    columns = {IMAGE: _objects([file.read_bytes() for file in files])}
    if set(parents) == {"."}:
        return columns
    if "." in parents:
        raise DataError(
            f"{where} holds images beside subfolders (`{files[parents.index('.')].name}`), so the "
            "class of some rows is not known; put each image into the subfolder of its class"
        )
    return columns | {LABEL: _objects(parents)}


def open_paths(table: Example, base: Path, where: str) -> Example:
    """Replaces columns of paths of images by the bytes of the files.

    A column is one of paths if its first value is a text that ends as an image does.

    Args:
        table: raw rows.
        base: folder that relative paths start from.
        where: names the table in errors.

    Raises:
        DataError: for a path without a file; says the row.
    """
    opened: dict[str, Array] = {
        name: _opened(column, base, f"column `{name}` of {where}")
        if column.dtype.kind == "O" and len(column) and _is_path(column.flat[0])
        else column
        for name, column in table.columns.items()
    }
    return Example(opened, table.n)


def with_files(tables: Mapping[str, Example], locations: Mapping[str, str]) -> dict[str, Example]:
    """Opens the paths in some tables; those of a file start from its folder.

    Raises:
        DataError: for a path without a file; says the table and the row.
    """
    return {
        use: open_paths(table, _base(locations.get(use, "")), f"`{use}`")
        for use, table in tables.items()
    }


def _base(location: str) -> Path:
    return Path(location).parent if location else Path()


def _is_path(value: object) -> bool:
    return isinstance(value, str) and Path(value).suffix.lower() in ENDINGS


def _opened(column: Array, base: Path, where: str) -> Array:
    contents = []
    for row, value in enumerate(column):
        path = base / value if isinstance(value, str) else None
        if path is None or not path.is_file():
            raise DataError(
                f"{where}: row {row} holds {value!r}, and there is no such file in {base.resolve()}"
            )
        contents.append(path.read_bytes())
    return _objects(contents)


def _objects(values: list[bytes] | list[str]) -> Array:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
