"""Which copies, looks, certificates and bundles some rows of a run touched, and their removal.

Rows are known again by their digests, as the ledger knows them; no seal is opened. The ledger itself
never changes: it holds digests and no values, and without them a row could be looked at twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison.assessment.finding import FOLDER as FINDING
from jettison.assessment.labelled_run import FOLDER as LABELLING
from jettison.assessment.subjects import RELEASE, SEALED_ROW_SET
from jettison.domain.disk_faults import explained
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.files import exclusive_lock
from jettison.domain.record import from_json
from jettison.domain.rows import LENGTHS, Array, Rows, column_file
from jettison.domain.run import RunRecord
from jettison.errors import CheckFailed, DataError, UsageError
from jettison.pipeline.split.binding import bind_encoder, fed_columns
from jettison.pipeline.split.encoding import encode_tables, row_digests, rows_of
from jettison.pipeline.split.files import as_read
from jettison.pipeline.split.labelling import text_of
from jettison.pipeline.split.raw_keys import raw_digests
from jettison.pipeline.split.reading import read_file
from jettison.trust.audit import Trail
from jettison.trust.audit_record import open_trail
from jettison.trust.bundle_layout import MANIFEST, PROBES
from jettison.trust.ledger import Ledger
from jettison.trust.privacy.pseudonyms import pseudonym
from jettison.trust.probes import probe_rows, read_probes
from jettison.trust.row_sets import RowSet, common_rows, row_set, unpack

USES = ("fitting", "selection", "certification")
WORK = "work"

BESIDE = (LABELLING, FINDING, "changes.html", "changes.json", "novelty.npz")
"""What else in a run's folder shows rows, or was computed from them: written by `label`, `find`,
`explain-changes` and `fit-guardrail`. What they wrote elsewhere (`--out`) stays."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What some rows touched.

    Attributes:
        rows: that the condition names, over all files of the run.
        copies: use -> rows of it among the encoded copies of the run.
        looks: lines of the ledger that looked at any of them.
        results: certificates and bundles that rest on these looks: kind, digest, status.
        probes: of the rows, those stored in the bundle of the run, with the model's answers.
        removed: folders and files that were removed.
        recompute: what must be made again, one sentence each.
    """

    rows: int
    copies: Mapping[str, int]
    looks: tuple[int, ...]
    results: tuple[tuple[str, str, str], ...]
    probes: int
    removed: tuple[str, ...]
    recompute: tuple[str, ...]


def forget(run: Path, column: str, value: str, *, delete: bool = False) -> Touched:
    """Finds what the rows with a value in a column touched; removes the copies if asked to.

    Args:
        run: its folder.
        column: of the run's data files, such as a patient's number.
        value: as text; 7 and 7.0 are the same.
        delete: remove every copy of rows in the run's folder. The user's own files, the ledger,
            the record of the run and its bundle stay.

    Raises:
        UsageError: if the folder is no run, or its rows were given in Python.
        DataError: if no row has the value, or a file can't be read.
        CheckFailed: if the ledger is broken, or the audit trail (nothing is removed then).
    """
    record = _record(run)
    tables = _tables(record, column, value)
    keys = _keys(record, tables)
    names = [spec.name for spec in record.model.inputs]
    copies = {use: _copies(run / WORK / "data" / use, names, keys) for use in USES[:2]}
    sealed = run / SEALED_ROW_SET
    copies["certification"] = (
        common_rows(keys, unpack(sealed.read_bytes())) if sealed.exists() else 0
    )
    ledger = Ledger.at(record.configuration.ledger)
    looks = ledger.looks_at(keys)
    entries = {look.digest for look in looks}
    results = tuple(
        (e.kind, str(e.facts.get("digest")), str(e.facts.get("status")))
        for e in ledger.entries()
        if e.look in entries and e.kind in ("certificate", "bundle")
    )
    touched = Touched(
        rows=sum(table.n for table in tables.values()),
        copies=copies,
        looks=tuple(look.number for look in looks),
        results=results,
        probes=_probes(run / RELEASE, keys),
        removed=(),
        recompute=(),
    )
    touched = dataclasses.replace(touched, recompute=tuple(_recompute(touched)))
    if not delete:
        return touched
    return dataclasses.replace(touched, removed=_remove(run, record, column, value, touched))


def _record(run: Path) -> RunRecord:
    try:
        return from_json(RunRecord, (run / "run.json").read_bytes())
    except OSError as error:
        raise UsageError(f"{run} is no folder of a finished run (run.json): {error}") from error
    except ValueError as error:
        raise CheckFailed(f"{run / 'run.json'} can't be read: {error}") from error


def _tables(record: RunRecord, column: str, value: str) -> dict[str, Example]:
    """The rows in question, from the user's files."""
    section = record.configuration.data
    files = {use: getattr(section, use) for use in ("source", *USES) if getattr(section, use)}
    if not files:
        raise UsageError("the rows of this run were given in Python, so no file names them")
    found: dict[str, Example] = {}
    for use, location in files.items():
        table = read_file(location, use)
        if column not in table.columns:
            raise DataError(
                f"{location} has no column `{column}`; it has {', '.join(table.columns)}"
            )
        told = [_told(v) for v in table.columns[column].tolist()]
        wanted = _as_told(value, table.columns[column])
        index = np.flatnonzero(np.array([text == wanted for text in told]))
        if len(index):
            found[use] = rows_of(table, index)
    if not found:
        raise DataError(f"no row has `{column}` = {value} in {', '.join(files.values())}")
    return as_read(found, files, record.model.encoder.kind, section)


def _as_told(value: str, column: Array) -> str:
    """What was typed, as values of the column are told: in csv 007 is read as the number 7."""
    if column.dtype.kind not in "iuf":
        return value
    with contextlib.suppress(ValueError):
        return _told(int(value))
    with contextlib.suppress(ValueError):
        number = float(value)
        return value if number != number else _told(number)
    return value


def _told(value: object) -> str:
    return "" if value is None or value != value else str(text_of(np.array([value]))[0])


def _keys(record: RunRecord, tables: Mapping[str, Example]) -> RowSet:
    """The digests by which the ledger and the run know these rows."""
    section = record.configuration.data
    bare = {
        use: Example({n: c for n, c in t.columns.items() if n != section.consent}, t.n)
        for use, t in tables.items()
    }
    bound, columns = bind_encoder(section, record.model, bare)
    fed = fed_columns(bound, columns)
    with tempfile.TemporaryDirectory(prefix="jettison-forget-") as place:
        pool = encode_tables(bound, record.model, bare, Path(place) / "rows")
    more: list[list[str]] = [[], []]
    for table in bare.values():
        known = [n for n in table.columns if n not in (section.target, section.weight)]
        for place_, names in enumerate((fed, known)):
            more[place_] += raw_digests(table, names, np.arange(table.n))
    filled = [[key or own for key, own in zip(column, pool.digests)] for column in more]
    return row_set(pool.digests, *filled)


def _copies(folder: Path, names: Sequence[str], keys: RowSet) -> int:
    """How many of the encoded rows in a folder are among these."""
    if not all(column_file(folder, name).exists() for name in names):
        return 0
    arrays = {name: np.load(column_file(folder, name), allow_pickle=False) for name in names}
    path = folder / f"{LENGTHS}.npy"
    return _known(arrays, np.load(path) if path.exists() else None, names, keys)


def _known(
    arrays: Mapping[str, Array], lengths: Array | None, names: Sequence[str], keys: RowSet
) -> int:
    pad = dict.fromkeys(names, 0.0) if lengths is not None else {}
    digests = row_digests(Encoded(dict(arrays), pad, lengths), names)
    return common_rows(row_set(digests), keys)


def _probes(bundle: Path, keys: RowSet) -> int:
    """How many of the rows are stored in the bundle, to check its answers by."""
    if not (bundle / MANIFEST).exists():
        return 0
    with tempfile.TemporaryDirectory(prefix="jettison-forget-") as place:
        rows: Rows = probe_rows(read_probes(bundle / PROBES), Path(place))
        arrays = {name: np.array(rows.column(name)) for name in rows.names}
        return _known(arrays, rows.lengths(), rows.names, keys)


def _recompute(touched: Touched) -> list[str]:
    told: list[str] = []
    if touched.copies["fitting"]:
        told.append("candidates that were fitted on them: run again without these rows")
    if touched.copies["selection"]:
        told.append("the search, which chose by them: run again without these rows")
    if touched.copies["certification"] or touched.looks:
        told.append("the certificates that rest on them: certify again on rows without these")
    if touched.probes:
        told.append("the bundle, which stores them to check its answers by: make a new one")
    return told


def _remove(
    run: Path, record: RunRecord, column: str, value: str, touched: Touched
) -> tuple[str, ...]:
    """Removes all copies of rows and all that was computed from them, and says so in the trail."""
    # The untouched model stays; outputs and fitted models in there were computed from the rows.
    work = sorted(p for p in (run / WORK).glob("*") if p.is_dir() and p.name != "model")
    found = [*work, *(run / name for name in BESIDE if (run / name).exists())]
    removed = [str(path) for path in found]
    with (
        explained(f"forgetting rows of the run in {run}", run),
        exclusive_lock(run / ".lock", f"another jettison run is using {run}"),
    ):
        named = open_trail(record.configuration)
        trail = Trail(run / named.path.name, named.who, named.signer)
        trail.check()
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        trail.append(
            "forgotten",
            {
                "who": pseudonym(f"{column}={value}"),
                "rows": touched.rows,
                "removed": removed,
                "looks": list(touched.looks),
            },
        )
    return tuple(removed)
