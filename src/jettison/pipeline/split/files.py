"""Rows that are files: a folder of them, or a column of paths."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from jettison import registry
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.numerics.ragged_columns import as_numbers, column_of
from jettison.pipeline.split.labelling import group_columns

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

IMAGE, BYTES, LABEL = "image", "bytes", "label"
"""Columns of a folder of files."""


def read_folder(folder: Path, where: str) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Reads a folder of files: images (column `image`), else any files (column `bytes`).

    Rows are in the order of their paths. The subfolders are the column `label`; there is none
    where the files lie in the folder itself. Where there are images, other files are left out;
    files whose name begins with a dot always are.

    Returns:
        The columns, and the path of each row's file in the folder.

    Raises:
        DataError: for a folder without files, or with files both in it and below it.
    """
    seen = sorted(p for p in folder.rglob("*") if p.is_file())
    seen = [p for p in seen if not any(s.startswith(".") for s in p.relative_to(folder).parts)]
    images = [p for p in seen if p.suffix.lower() in ENDINGS]
    files = images or seen
    if not files:
        raise DataError(
            f"{where} is a folder without files; give a file of rows, or a folder with one "
            f"subfolder of files for each class, images ({', '.join(sorted(ENDINGS))}) or others"
        )
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    parents = [file.parent.relative_to(folder).as_posix() for file in files]
    columns = {IMAGE if images else BYTES: column_of([_content(f, where) for f in files])}
    if set(parents) == {"."}:
        return columns, names
    if "." in parents:
        raise DataError(
            f"{where} holds files beside subfolders (`{files[parents.index('.')].name}`), so the "
            "class of some rows is not known; put each file into the subfolder of its class"
        )
    return columns | {LABEL: column_of(parents)}, names


def _content(file: Path, where: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} of {where} can't be read ({error.strerror})") from error


def open_paths(
    table: Example, base: Path, where: str, names: Collection[str] | None = None
) -> Example:
    """Replaces columns of paths of images by the bytes of the files.

    A column is one of paths if its first value is a text that ends as an image does.

    Args:
        table: raw rows.
        base: folder that relative paths start from.
        where: names the table in errors.
        names: columns that may feed the model; others say where a row comes from. All if `None`.

    Raises:
        DataError: for a path without a file; says the row.
    """
    opened: dict[str, Array] = {
        name: _opened(column, base, f"column `{name}` of {where}")
        if (names is None or name in names)
        and column.dtype.kind == "O"
        and len(column)
        and _is_path(column.flat[0])
        else column
        for name, column in table.columns.items()
    }
    paths = [name for name in opened if opened[name] is not table.columns[name]]
    files = tuple(str(v) for v in table.columns[paths[0]]) if len(paths) == 1 else table.files
    return Example(opened, table.n, files)


def as_read(
    tables: Mapping[str, Example],
    locations: Mapping[str, str],
    encoder: str,
    section: DataSection,
) -> dict[str, Example]:
    """Opens files and bytes as an encoder takes them: bytes as they are, else numbers 0 to 255.

    Args:
        tables, locations, section: as for `with_files`.
        encoder: its kind.
    """
    if getattr(registry.get("encoders", encoder), "takes_bytes", False):
        return with_files(tables, locations, section)
    return with_numbers(tables)


def with_files(
    tables: Mapping[str, Example], locations: Mapping[str, str], section: DataSection
) -> dict[str, Example]:
    """Opens the paths in some tables; those of a file start from its folder.

    Raises:
        DataError: for a path without a file; says the table and the row.
    """
    return {
        use: open_paths(table, _base(locations.get(use, "")), f"`{use}`", _pictures(table, section))
        for use, table in tables.items()
    }


def _pictures(table: Example, section: DataSection) -> tuple[str, ...]:
    """Columns whose paths are those of pictures for the model.

    Those of `inputs`; else all without another role, and none where bytes are at hand: a name
    beside a picture says what it was called.
    """
    if section.inputs:
        return section.inputs
    if any(_holds_bytes(column) for column in table.columns.values()):
        return ()
    groups = group_columns(section.groups, table.columns)
    apart = {section.target, section.unit, section.weight, *groups}
    return tuple(name for name in table.columns if name not in apart)


def _holds_bytes(column: Array) -> bool:
    return column.dtype.kind == "O" and len(column) > 0 and isinstance(column.flat[0], bytes)


def with_numbers(tables: Mapping[str, Example]) -> dict[str, Example]:
    """Reads bytes as numbers 0 to 255, for an encoder that takes no bytes."""
    return {
        use: Example(
            {
                name: column_of([as_numbers(value) for value in column.tolist()])
                if _holds_bytes(column)
                else column
                for name, column in table.columns.items()
            },
            table.n,
            table.files,
        )
        for use, table in tables.items()
    }


def check_bytes(tables: Mapping[str, Example], model: Model) -> None:
    """Refuses bytes for a model whose inputs all have more dimensions, and whose encoder takes none.

    Raises:
        DataError: naming the column and what would make inputs of it.
    """
    kind = registry.get("encoders", model.encoder.kind)
    deep = model.inputs and all(len(spec.shape) > 2 for spec in model.inputs)
    if not deep or getattr(kind, "takes_bytes", False):
        return
    for use, table in tables.items():
        for name, column in table.columns.items():
            if _holds_bytes(column):
                spec = model.inputs[0]
                sizes = ", ".join(str(size) for size in spec.shape)
                raise DataError(
                    f"the column `{name}` of `{use}` holds bytes, and nothing says how they become "
                    f"the input `{spec.name}` ({sizes}); if they are images, give the table "
                    "`[image]` (`--image mean=0.5 --image std=0.5`)"
                )


def _base(location: str) -> Path:
    return Path(location).parent if location else Path()


def _is_path(value: object) -> bool:
    return isinstance(value, str) and Path(value).suffix.lower() in ENDINGS


def _opened(column: Array, base: Path, where: str) -> Array:
    contents = []
    for row, value in enumerate(column):
        path = base / value if _is_path(value) else None
        if path is None or not path.is_file():
            raise DataError(
                f"{where}: row {row} holds {value!r}, and there is no such file of an image in "
                f"{base.resolve()}"
            )
        contents.append(_content(path, where))
    return column_of(contents)
