"""A few inputs with the outputs that the shipped model gave: does it still answer the same?

The inputs come from the rows that fit the model or from selection, never from the sealed ones.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from jettison.domain.device import ServingProfile
from jettison.domain.files import write_atomically
from jettison.domain.jobs import SessionJob
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import LENGTHS, Array, Rows, column_file
from jettison.errors import CheckFailed
from jettison.worker_client import WorkerSession

PROBES = 64
FEWEST = 8
LARGEST_BYTES = 4 << 20
"""At most 64 rows are stored, and beyond the first 8 only as many as take so much memory: enough to
see a rounding that tips over for one row in twenty, without a bundle that is mostly pictures."""

RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""Largest difference allowed, relative to the largest value of an output, and absolute. On the
machine that wrote the bundle outputs are equal to the last bit; another build of a runtime adds in
another order."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model as it is served: what `model.json` of a bundle holds.

    Attributes:
        model: paths are relative to the bundle.
        runtime: its step.
        serving: the profile that it was measured and certified for.
        one_by_one: rows are run one by one.
    """

    model: Model
    runtime: Step
    serving: ServingProfile
    one_by_one: bool


def write_probes(served: Served, rows: Rows, path: Path) -> None:
    """Runs the first few rows on a model (absolute paths) in a worker, and saves both sides."""
    n = probe_count(rows)
    arrays = {f"input.{name}": np.array(rows.column(name)[:n]) for name in rows.names}
    lengths = rows.lengths()
    if lengths is not None:
        arrays[f"input.{LENGTHS}"] = np.array(lengths[:n])
    arrays["pad"] = np.array(json.dumps(dict(rows.pad), sort_keys=True), dtype=np.str_)
    arrays["names"] = np.array(rows.names, dtype=np.str_)
    outputs = _run(served, arrays)
    arrays.update({f"output.{name}": values for name, values in outputs.items()})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **cast(Any, arrays))
    write_atomically(path, buffer.getvalue())


def probe_count(rows: Rows) -> int:
    """How many of some rows are stored."""
    row_bytes = sum(np.array(rows.column(name)[:1]).nbytes for name in rows.names)
    fitting = LARGEST_BYTES // max(row_bytes, 1)
    return min(rows.n, max(FEWEST, min(PROBES, fitting)))


def probe_differences(served: Served, path: Path) -> list[str]:
    """Runs the stored inputs again, and says where outputs differ by more than the tolerance.

    Raises:
        CheckFailed: if the file can't be read.
        CandidateFailed: if the model can't be loaded or run.
    """
    arrays = read_probes(path)
    try:
        found = _run(served, arrays)
    except (OSError, ValueError, KeyError) as error:
        raise CheckFailed(f"the probes {path} can't be read: {error}") from error
    return unlike_stored(arrays, found)


def read_probes(path: Path) -> dict[str, Array]:
    """Reads what `write_probes` stored: `input.*`, `output.*`, `names` and `pad`.

    Raises:
        CheckFailed: if the file can't be read.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckFailed(f"the probes {path} can't be read: {error}") from error


def probe_rows(arrays: Mapping[str, Array], folder: Path) -> Rows:
    """Lays the stored inputs out in a folder, as rows.

    Raises:
        KeyError, ValueError: if the arrays are not those of `read_probes`.
    """
    names = tuple(str(name) for name in arrays["names"])
    pad = json.loads(str(arrays["pad"]))
    for name in (*names, LENGTHS) if pad else names:
        np.save(column_file(folder, name), arrays[f"input.{name}"], allow_pickle=False)
    return Rows(str(folder), names, len(arrays[f"input.{names[0]}"]), pad)


def unlike_stored(arrays: Mapping[str, Array], found: Mapping[str, Array]) -> list[str]:
    """Says where answers to the probes differ from the stored ones by more than the tolerance."""
    expected = {
        name.removeprefix("output."): values
        for name, values in arrays.items()
        if name.startswith("output.")
    }
    problems = [f"output `{name}` is missing" for name in sorted(expected.keys() - found.keys())]
    for name in sorted(expected.keys() & found.keys()):
        problem = _difference(expected[name], found[name])
        if problem:
            problems.append(f"output `{name}` on the stored probes {problem}")
    return problems


def _run(served: Served, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Answers the probe inputs in a worker; gives output name -> array, rows first."""
    with tempfile.TemporaryDirectory(prefix="jettison-probes-") as place:
        folder = Path(place)
        rows = probe_rows(arrays, folder)
        job = SessionJob(
            served.model, served.runtime, rows, served.serving, one_by_one=served.one_by_one
        )
        size = stored_batch(served, rows.n)
        with WorkerSession(job, folder) as session:
            scored = session.score(rows, folder / "outputs", size)
        return {name: np.load(scored.file(name), allow_pickle=False) for name in scored.outputs}


def stored_batch(served: Served, n: int) -> int:
    """Rows of each batch in which the stored outputs were computed."""
    return 1 if served.one_by_one else min(n, max(served.serving.batch_sizes))


def _difference(expected: Array, found: Array) -> str:
    if expected.shape != found.shape:
        return f"has shape {found.shape}, not {expected.shape}"
    if expected.dtype.kind not in "fiub" or found.dtype.kind not in "fiub":
        return "" if bool((expected == found).all()) else "differs"
    before, after = expected.astype(np.float64), found.astype(np.float64)
    if not np.array_equal(np.isfinite(before), np.isfinite(after)):
        return "has other missing or infinite values"
    finite = np.isfinite(before)
    if not finite.any():
        return ""
    worst = float(np.abs(before - after)[finite].max())
    allowed = ABSOLUTE + RELATIVE * float(np.abs(before[finite]).max())
    return "" if worst <= allowed else f"differs by {worst:.3g}; at most {allowed:.3g} is allowed"
