"""Datasets that the library `datasets` saved on disk, read with pyarrow alone.

`Dataset.save_to_disk` writes a folder with `state.json`, which names Arrow stream files of record
batches, and `dataset_info.json`; `DatasetDict.save_to_disk` one such folder for each split and
`dataset_dict.json`. The library itself is not needed (decision 0110).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettison.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

STATE, SPLITS = "state.json", "dataset_dict.json"


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


def read_saved(folder: Path, where: str) -> pa.Table:
    """Reads all record batches of a saved dataset, memory-mapped.

    Raises:
        DataError: for a folder of several splits (names them), for rows behind an index that was
            not written out, and for files that are missing or damaged.
    """
    if not (folder / STATE).is_file():
        splits = _json(folder / SPLITS, where).get("splits") or ["train"]
        raise DataError(
            f"{where} holds the splits {', '.join(f'`{name}`' for name in splits)} of a dataset; "
            f"name one, for example `{folder / str(splits[-1])}`, or one as `fitting`, one as "
            "`selection` and one as `certification`"
        )
    state = _json(folder / STATE, where)
    if state.get("_indices_data_files"):
        raise DataError(
            f"{where} was saved with its rows behind an index; save it again with a newer "
            "`datasets`, or after `dataset.flatten_indices()`"
        )
    listed = state.get("_data_files")
    held = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    files = [str(one.get("filename", "")) for one in held]
    outside = [name for name in files if Path(name).name != name]
    if not files or outside:
        raise DataError(
            f"{folder / STATE} names {f'`{outside[0]}`' if outside else 'no file of rows'}; it "
            "must name Arrow files of its own folder: save the dataset again"
        )
    return _joined([folder / name for name in files], where)


def _joined(paths: list[Path], where: str) -> pa.Table:
    import pyarrow as pa

    tables = []
    for path in paths:
        try:
            with pa.memory_map(str(path)) as source:
                tables.append(pa.ipc.open_stream(source).read_all())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} of {where} can't be read as Arrow: {error}") from error
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise DataError(f"the files of {where} hold different columns: {error}") from error


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} of {where} can't be read as JSON: {error}") from error
    if not isinstance(held, dict):
        raise DataError(f"{path.name} of {where} must hold a JSON object")
    return held
