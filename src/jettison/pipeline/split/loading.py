"""Loads, checks, encodes and divides the data of a run, and seals what certifies."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jettison import registry
from jettison.domain.configuration import DataSection
from jettison.domain.contexts import Context
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.raw_examples import LIMIT, write_raw
from jettison.domain.rows import Array
from jettison.domain.splits import CertificationSet, FittingData, Labels, SelectionSet, Splits
from jettison.errors import DataError
from jettison.pipeline.split.binding import bind_encoder, fed_columns
from jettison.pipeline.split.contexts import Reader, Spread, Unchanged, with_contexts
from jettison.pipeline.split.division import Division, divide, settle
from jettison.pipeline.split.encoding import encode_tables, rows_of, take_rows, write_encoded
from jettison.pipeline.split.files import as_read, check_bytes
from jettison.pipeline.split.governance import (
    check_uses,
    consenting,
    unused_columns,
    without_names,
)
from jettison.pipeline.split.labelling import (
    check_several_classes,
    group_columns,
    join_labels,
    label_rows,
    take_labels,
)
from jettison.pipeline.split.near_duplicates import find_near, notes_on, without_near
from jettison.pipeline.split.notes import cut_texts, notes_about
from jettison.pipeline.split.places import save_places
from jettison.pipeline.split.reading import read_file, read_object
from jettison.pipeline.split.row_keys import read_keys, sealed_keys
from jettison.trust.seal import seal_rows
from jettison.trust.waiting_rows import keep_open_rows

USES = ("fitting", "selection", "certification")

FEWEST_UNITS = 20
"""Below this, a division in three says nothing about anything."""

MADE_UP_ROWS = 128

_NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def load_data(
    section: DataSection,
    model: Model,
    folder: Path,
    live: Any = None,
    contexts: Sequence[Context] = (),
) -> Splits:
    """Reads the data of a run and divides it into its three uses.

    One source is divided by unit, 5 / 15 / 80 %, by a hash of seed and unit (or of the encoded
    inputs where each row is its own unit), so the order of the file does not matter. Files named
    per use are taken as they are. Rows whose encoded inputs or unit were met on an earlier side
    are left out, and exact copies among sealed rows are kept once.

    Args:
        section: `data` of the configuration. Without any source, inputs are made up.
        model: whose encoder makes the inputs and whose classes the targets must belong to.
        folder: of the run; `fitting`, `selection`, `sealed` and `raw` in it are replaced.
        live: in place of the files, a DataFrame, a dictionary of arrays or an array as the one
            source; or a dictionary with one of these for each use, by the names of the uses.
        contexts: conditions of use; selection and sealed rows get a changed copy in each.

    Returns:
        The splits; `encoder` is the model's, bound to the columns.

    Raises:
        DataError: for anything in the data that can't be used; says where and what to do.
        MissingDependency: if a package is needed to read a file.
    """
    tables = _tables(section, _by_use(live))
    check_uses(section, tables)
    tables, governed = consenting(section, tables)
    files = {use: getattr(section, use) for use in ("source", *USES)}
    check_bytes(tables, model)
    tables = as_read(tables, files, model.encoder.kind, section)
    if not tables:
        _check_nothing_named(section)
        return made_up_data(model, folder, section.seed)
    bound, columns = bind_encoder(section, model, tables)
    labels = _labels(section, model, tables)
    with storage(folder), _cleared(folder) as scratch:
        pool = encode_tables(bound, model, tables, scratch)
        ranks = _ranks(pool.digests, labels, section.seed)
        sides = _sides(tables, labels, pool.digests, section)
        units = None if labels.units is None else labels.units.tolist()
        division = settle(sides, pool.digests, units, ranks, section.fitting_rows)
        _check_none_empty(division, tables)
        fed = fed_columns(bound, columns)
        near, whole = find_near(pool, division, model.inputs, fed), len(division.fitting)
        if section.near_duplicates == "drop":
            division = without_near(division, near)
        raw = rows_of(tables[next(iter(tables))], division.fitting[:LIMIT])
        write_raw(Example({c: raw.columns[c] for c in fed}, raw.n), folder / "raw")
        keys = sealed_keys(section, tables, fed, division.certification)
        unchanged = Unchanged(tables, pool, division, units, section.seed, labels.groups)
        spread = with_contexts(contexts, unchanged, Reader(bound, model, fed))
        taken = {use: without_names(_labels_of(labels, spread, use)) for use in USES}
        for use in ("fitting", "certification"):
            if not _answers_known(section, tables, use):
                taken[use] = dataclasses.replace(taken[use], targets=None)
        splits = _write(spread, taken, ranks, keys, (section, folder))
        read = np.concatenate([division.fitting, division.selection])
        open_keys = read_keys(section, tables, fed, read, pool.digests)
        keep_open_rows(folder / "selection", *open_keys)
        save_places(_locations(section, tables, live), tables, division, folder)
        known = _known_beside(section, tables, taken["fitting"])
        fitting = FittingData.of(splits.fitting.rows, section.seed, known.targets, known)
        splits = dataclasses.replace(splits, fitting=fitting)
    notes = (
        *governed,
        *unused_columns(section, tables, fed),
        *notes_on(
            near,
            tables,
            whole - len(division.fitting),
            asked=section.near_duplicates == "drop",
        ),
        *notes_about(section, tables, division, labels, splits.certification),
        *cut_texts(bound, pool.lengths),
        *spread.notes,
    )
    return dataclasses.replace(
        splits, encoder=bound, raw=str((folder / "raw").resolve()), notes=notes
    )


def made_up_data(model: Model, folder: Path, seed: int) -> Splits:
    """Makes up calibration inputs for a run without data: speed and size only."""
    kind = registry.get("encoders", model.encoder.kind)
    names = tuple(spec.name for spec in model.inputs)
    with storage(folder):
        shutil.rmtree(folder / "fitting", ignore_errors=True)
        encoded = kind.made_up(model.encoder, model, MADE_UP_ROWS, seed)
        rows = write_encoded(encoded, names, folder / "fitting")
    whole = hashlib.sha256(f"made up\0{seed}\0{rows.digest}".encode()).hexdigest()
    note = f"No data was given: speed and size were measured on {rows.n} made-up inputs."
    return Splits(FittingData(rows, seed), None, None, seed, whole, notes=(note,))


def _check_nothing_named(section: DataSection) -> None:
    named = [role for role in ("target", "groups", "unit", "weight") if getattr(section, role)]
    if named:
        raise DataError(
            f"`data` names {' and '.join(f'`{role}`' for role in named)}, but no file with rows; "
            "give `source` (or `fitting` and `selection`)"
        )


def _by_use(live: Any) -> Mapping[str, Any]:
    if live is None:
        return {}
    uses = {"source", *USES}
    return live if isinstance(live, Mapping) and live and set(live) <= uses else {"source": live}


def _tables(section: DataSection, live: Mapping[str, Any]) -> dict[str, Example]:
    """The tables at hand by use, in the order of the uses; one `source`, or several files."""
    found: dict[str, Example] = {}
    for use in ("source", *USES):
        location = getattr(section, use)
        if live.get(use) is not None:
            found[use] = read_object(live[use], use)
        elif location:
            found[use] = read_file(location, use)
    if "source" in found and len(found) > 1:
        raise DataError(
            "`source` and one file per use exclude each other: give one of the two in `data`"
        )
    if found and "source" not in found and not {"fitting", "selection"} <= set(found):
        raise DataError(
            f"`data` names {' and '.join(f'`{use}`' for use in found)}; give at least `fitting` "
            "and `selection`, or one `source`"
        )
    return found


def _labels(section: DataSection, model: Model, tables: Mapping[str, Example]) -> Labels:
    """Labels of all rows in order.

    A fitting file of its own needs none and gets fillers; so do the targets of a certification
    file without them, which a person will label (`jettison label`).
    """
    parts: list[Labels] = []
    for use, table in tables.items():
        where = f"`{use}`"
        if use == "certification" and not _answers_known(section, tables, use):
            bare = label_rows(table, dataclasses.replace(section, target=""), model, where)
            blank = np.zeros(table.n, dtype=_target_type(parts[-1]))
            parts.append(dataclasses.replace(bare, targets=blank))
            continue
        if use != "fitting":
            parts.append(label_rows(table, section, model, where))
            check_several_classes(parts[-1], where)
            continue
        has = table.columns
        there = DataSection(
            unit=section.unit if section.unit in has else "",
            target=section.target if section.target in has else "",
            groups=tuple(n for n in section.groups if set(group_columns([n], has)) <= set(has)),
            weight=section.weight if section.weight in has else "",
        )
        bare = label_rows(table, there, model, where)
        filler: Array | None = np.zeros(table.n, dtype=np.int64) if section.target else None
        parts.append(
            Labels(
                targets=filler if bare.targets is None else bare.targets,
                groups={
                    name: bare.groups.get(name, np.full(table.n, "")) for name in section.groups
                },
                units=_own_units(bare, table.n) if section.unit else None,
                weights=_own_weights(bare, table.n) if section.weight else None,
            )
        )
    return join_labels(parts)


def _answers_known(section: DataSection, tables: Mapping[str, Example], use: str) -> bool:
    """Whether the rows of a use have targets of their own, or none are declared at all."""
    return not section.target or use not in tables or section.target in tables[use].columns


def _target_type(labels: Labels) -> np.dtype[Any]:
    return np.dtype(np.int64) if labels.targets is None else labels.targets.dtype


def _locations(section: DataSection, tables: Mapping[str, Example], live: Any) -> Mapping[str, str]:
    """The file of each table; empty for what was given in Python."""
    return {use: "" if use in _by_use(live) else getattr(section, use) for use in tables}


def _labels_of(labels: Labels, spread: Spread, use: str) -> Labels:
    """Labels of a use; a copy has those of its row, and its context beside them."""
    taken = take_labels(labels, spread.sources[use])
    return dataclasses.replace(taken, contexts=spread.contexts.get(use))


def _known_beside(section: DataSection, tables: Mapping[str, Example], labels: Labels) -> Labels:
    """Labels of fitting rows without the fillers of a file of their own that lacks columns.

    The target is no group here: balanced against itself, it would undo what techniques do.
    """
    groups = {name: values for name, values in labels.groups.items() if name != section.target}
    if "fitting" not in tables:
        return dataclasses.replace(labels, groups=groups)
    has = tables["fitting"].columns
    groups = {
        name: values
        for name, values in groups.items()
        if set(group_columns([name], has)) <= set(has)
    }
    return Labels(labels.targets, groups, weights=labels.weights if section.weight in has else None)


def _own_weights(labels: Labels, n: int) -> Array:
    return np.zeros(n) if labels.weights is None else labels.weights


def _own_units(labels: Labels, n: int) -> Array:
    return np.array([f"fitting\0{i}" for i in range(n)]) if labels.units is None else labels.units


def _ranks(digests: Sequence[str], labels: Labels, seed: int) -> list[str]:
    """A hash of seed, inputs and labels of each row: shuffles, and is the same in any order."""
    columns = [labels.targets, *labels.groups.values(), labels.units, labels.weights]
    known = [column.tolist() for column in columns if column is not None]
    told = list(zip(*known, strict=True)) or [()] * len(digests)
    return [
        hashlib.sha256(f"{seed}\0{digest}\0{facts!r}".encode()).hexdigest()
        for digest, facts in zip(digests, told, strict=True)
    ]


def _sides(
    tables: Mapping[str, Example], labels: Labels, digests: Sequence[str], section: DataSection
) -> Array:
    if "source" not in tables:
        return np.concatenate([np.full(t.n, USES.index(use)) for use, t in tables.items()])
    units = digests if labels.units is None else labels.units.tolist()
    distinct = len(set(units))
    if distinct < FEWEST_UNITS:
        what = "different rows" if labels.units is None else "units"
        raise DataError(
            f"the data has {distinct} {what}, too few to divide into fitting, selection and "
            f"certification; at least {FEWEST_UNITS} are needed, and a certificate needs hundreds"
        )
    return divide(units, section.seed, section.fitting_rows)


def _check_none_empty(division: Division, tables: Mapping[str, Example]) -> None:
    expected = USES if "source" in tables else tuple(tables)
    for use in expected:
        if not len(getattr(division, use)):
            raise DataError(
                f"no row is left for {use}: {division.leaks} rows repeat the inputs or the unit "
                "of a row of an earlier use; give more rows that differ, or files that do not "
                "share rows"
            )


def _write(
    spread: Spread,
    taken: Mapping[str, Labels],
    ranks: Sequence[str],
    keys: tuple[list[str], ...],
    to: tuple[DataSection, Path],
) -> Splits:
    section, folder = to
    pool, division = spread.pool, spread.division
    fitting = take_rows(pool, division.fitting, folder / "fitting")
    selection = take_rows(pool, division.selection, folder / "selection")
    certification: CertificationSet | None = None
    if len(division.certification):
        index = division.certification
        rows = take_rows(pool, index, folder / ".pool" / "certification")
        digests = [pool.digests[int(row)] for row in index]
        # The ledger knows a copy by its row: contexts neither hide rows nor add any.
        sources = [int(row) for row in spread.sources["certification"]]
        places = {row: place for place, row in reversed(list(enumerate(sources)))}
        at = [places[row] for row in sources]
        digests = [digests[place] for place in at]
        more = [[column[place] or digests[place] for place in at] for column in keys]
        labels = taken["certification"]
        certification = seal_rows(rows, labels, digests, folder / "sealed", more)
    whole = hashlib.sha256(f"{section.seed}".encode())
    for use in USES:
        whole.update(f"\n{use}".encode())
        for row, source in zip(getattr(division, use), spread.sources[use], strict=True):
            told = "" if row == source else f" {pool.digests[int(row)]}"
            whole.update(f"\n{ranks[int(source)]}{told}".encode())
    return Splits(
        FittingData(fitting, section.seed),
        SelectionSet(selection, taken["selection"]),
        certification,
        section.seed,
        whole.hexdigest(),
        duplicates=len(ranks) - len(set(pool.digests[: len(ranks)])),
    )


@contextlib.contextmanager
def _cleared(folder: Path) -> Iterator[Path]:
    """Removes what an earlier load left, and lends a scratch folder."""
    scratch = folder / ".pool"
    for name in (*USES, "sealed", "raw", scratch.name):
        shutil.rmtree(folder / name, ignore_errors=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def storage(folder: Path) -> Iterator[None]:
    """Says what to do where the disk is full or the folder may not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                f"no space is left on the disk of {folder}, where the encoded rows go; free some, "
                "or choose another `output`"
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise DataError(
                f"{folder}, where the encoded rows go, can't be written ({error.strerror}); "
                "choose another `output`"
            ) from error
        raise
