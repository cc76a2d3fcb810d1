"""The seal: rows and labels that nothing reads before the ledger has charged a look at them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from jettison.domain.contexts import CONTEXT
from jettison.domain.files import replace_folder, write_atomically
from jettison.domain.record import file_digest, from_json, to_json
from jettison.domain.rows import LENGTHS, Array, Rows, column_file
from jettison.domain.splits import CertificationSet, Labels
from jettison.errors import CheckFailed, SealRefused
from jettison.trust.ledger import Ledger, Look
from jettison.trust.row_sets import RowSet, row_set, unpack

_SEAL = "seal.json"
_LABELS = "labels.npz"
_ROW_SET = "row_set.npy"
_ROWS = "rows"
_NO_GROUP = "\x1fnone"
"""Stands for «in no group of this column»; no value of a column can be this."""


def seal_rows(
    rows: Rows,
    labels: Labels,
    row_digests: Sequence[str],
    folder: Path,
    more_digests: Sequence[Sequence[str]] = (),
) -> CertificationSet:
    """Moves rows and labels into a sealed folder; they are gone from where they lay.

    Args:
        rows: encoded rows; their files are moved.
        labels: of the same rows, in the same order.
        row_digests: SHA-256 of each row's encoded inputs in hexadecimal, in the same order.
        folder: of the seal; an older one there is replaced.
        more_digests: further digests by which the ledger knows the same rows again; they must
            tell nothing about labels.

    Raises:
        ValueError: if the numbers of rows, labels and digests differ.
    """
    _check_lengths(rows, labels, (row_digests, *more_digests))
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / _ROWS).mkdir(parents=True)
    names = (*rows.names, LENGTHS) if rows.pad else rows.names
    for name in names:
        file = column_file(rows.folder, name)
        shutil.move(file, temporary / _ROWS / file.name)
    np.savez(temporary / _LABELS, **cast(Any, _arrays(labels)))
    known_by = row_set(row_digests, *more_digests)
    np.save(temporary / _ROW_SET, known_by, allow_pickle=False)
    stored = [f"{_ROWS}/{column_file(_ROWS, name).name}" for name in names]
    files = [*stored, _LABELS, _ROW_SET]
    contents = {
        "rows": json.loads(to_json(Rows(_ROWS, rows.names, rows.n, rows.pad, rows.digest))),
        "files": {name: file_digest(temporary / name) for name in files},
    }
    text = json.dumps(contents, sort_keys=True, separators=(",", ":"))
    write_atomically(temporary / _SEAL, text)
    replace_folder(temporary, folder)
    n = int(labels.as_they_came(rows.n).sum())
    units = n if labels.units is None else len(np.unique(labels.units))
    return CertificationSet(
        folder=str(folder.absolute()),
        n=n,
        units=units,
        group_sizes=_sizes(labels),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        labelled=labels.targets is not None,
        weighted=labels.weights is not None,
        group_units=_sizes(labels) if labels.units is None else _unit_counts(labels),
    )


def check_seal(certification: CertificationSet) -> None:
    """Checks every sealed byte against the digest that was taken when it was sealed.

    It reads the files only to hash them, so it may be called before a look is charged.

    Raises:
        CheckFailed: if anything differs; names the file.
    """
    folder = Path(certification.folder)
    for name, expected in _contents(certification)["files"].items():
        try:
            found = file_digest(folder / name)
        except OSError as error:
            raise CheckFailed(f"the sealed file {folder / name} can't be read: {error}") from error
        if found != expected:
            raise CheckFailed(
                f"the sealed file {folder / name} was changed after sealing; run again from the "
                "data (no look was spent if none was charged)"
            )


def sealed_row_set(certification: CertificationSet) -> RowSet:
    """The digests of the sealed rows, as the ledger keys them. They tell nothing about labels.

    Raises:
        CheckFailed: if the seal was changed.
    """
    check_seal(certification)
    return unpack((Path(certification.folder) / _ROW_SET).read_bytes())


def open_seal(certification: CertificationSet, look: Look) -> tuple[Rows, Labels]:
    """Opens a seal, once, against a look that the ledger has charged for exactly these rows.

    Raises:
        SealRefused: if the look isn't valid, is for other rows, or was used before.
        CheckFailed: if a sealed byte was changed.
    """
    rows = sealed_row_set(certification)
    if look.data != certification.digest:
        raise SealRefused("this look was charged for another sealed set")
    Ledger(Path(look.ledger)).redeem(look, rows)
    return _rows(certification), _read_labels(Path(certification.folder) / _LABELS)


def _rows(certification: CertificationSet) -> Rows:
    sealed = from_json(Rows, json.dumps(_contents(certification)["rows"]))
    folder = str(Path(certification.folder) / _ROWS)
    return dataclasses.replace(sealed, folder=folder)


def _contents(certification: CertificationSet) -> dict[str, dict[str, str]]:
    path = Path(certification.folder) / _SEAL
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckFailed(f"the seal {path} can't be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != certification.digest:
        raise CheckFailed(f"the seal {path} is not the one that this run made")
    contents: dict[str, dict[str, str]] = json.loads(data)
    return contents


def _check_lengths(rows: Rows, labels: Labels, digests: Sequence[Sequence[str]]) -> None:
    lengths = {f"row_digests {place}": len(column) for place, column in enumerate(digests)}
    for name in ("targets", "units", "weights", "contexts"):
        values = getattr(labels, name)
        if values is not None:
            lengths[name] = len(values)
    lengths.update({f"group {column}": len(values) for column, values in labels.groups.items()})
    wrong = {name: length for name, length in lengths.items() if length != rows.n}
    if wrong:
        raise ValueError(f"each must have one value for each of the {rows.n} rows; got {wrong}")


def _arrays(labels: Labels) -> dict[str, Array]:
    """Plain arrays only: text becomes fixed-width unicode, so that nothing needs pickle."""
    arrays: dict[str, Array] = {
        "group_columns": np.array(sorted(labels.groups), dtype=np.str_),
    }
    for index, column in enumerate(sorted(labels.groups)):
        arrays[f"group_{index}"] = np.asarray(labels.groups[column], dtype=np.str_)
    if labels.targets is not None:
        if labels.targets.dtype == object:
            raise ValueError("targets must be numbers or text, not Python objects")
        arrays["targets"] = labels.targets
    if labels.units is not None:
        arrays["units"] = np.asarray(labels.units, dtype=np.str_)
    if labels.weights is not None:
        arrays["weights"] = np.asarray(labels.weights, dtype=np.float64)
    if labels.contexts is not None:
        arrays["contexts"] = np.asarray(labels.contexts, dtype=np.str_)
    return arrays


def _read_labels(path: Path) -> Labels:
    with np.load(path, allow_pickle=False) as arrays:
        columns = [str(column) for column in arrays["group_columns"]]
        return Labels(
            targets=arrays.get("targets"),
            groups={column: arrays[f"group_{i}"] for i, column in enumerate(columns)},
            units=arrays.get("units"),
            weights=arrays.get("weights"),
            contexts=arrays.get("contexts"),
        )


def _columns(labels: Labels) -> dict[str, Array]:
    """Per column of groups, each row's value; `_NO_GROUP` for copies, and in the column of contexts
    for rows as they came.
    """
    columns: dict[str, Array] = {}
    for column in sorted(labels.groups):
        values = np.asarray(labels.groups[column], np.str_)
        whole = labels.as_they_came(len(values))
        columns[column] = np.where(whole, values, _NO_GROUP)
    if labels.contexts is not None:
        contexts = np.asarray(labels.contexts, np.str_)
        columns[CONTEXT] = np.where(contexts == "", _NO_GROUP, contexts)
    return columns


def _sizes(labels: Labels) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for column, belongs in _columns(labels).items():
        values, counts = np.unique(belongs[belongs != _NO_GROUP], return_counts=True)
        sizes.update({f"{column}={v}": int(c) for v, c in zip(values, counts, strict=True)})
    return sizes


def _unit_counts(labels: Labels) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    units = np.unique(np.asarray(labels.units, np.str_), return_inverse=True)[1]
    for column, belongs in _columns(labels).items():
        there = belongs != _NO_GROUP
        values, codes = np.unique(belongs[there], return_inverse=True)
        pairs = np.unique(np.stack([codes, units[there]]), axis=1)
        totals = np.bincount(pairs[0], minlength=len(values))
        counts.update({f"{column}={v}": int(c) for v, c in zip(values, totals, strict=True)})
    return counts
