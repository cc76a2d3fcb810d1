"""A new version is tried on its stored probes before anybody meets it: answers, company, speed."""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison.domain.rows import Array, Rows
from jettison.errors import CandidateFailed, CheckFailed
from jettison.serving.admission import Admitted
from jettison.serving.batcher import BatchPolicy
from jettison.serving.engine import Engine
from jettison.serving.knee import measure_knee
from jettison.serving.settings import ServeSettings
from jettison.trust.bundle_layout import PROBES
from jettison.trust.probes import probe_rows, stored_batch, unlike_stored
from jettison.worker.equality import difference, joined
from jettison.worker.ragged import OwnLengths, filled

LARGEST_BATCH = 128
"""Where the sweep for the knee ends when nobody names a cap."""

ENOUGH_ROWS = 4
"""Fewer probes than this can't show whether a row heeds its neighbours: two batches of two are
the least that can exchange rows."""

ROUNDING = 1e-5
"""Difference between a row alone and in a batch that counts as none, as a fraction of the
output's scale. Other shapes run other kernels, which add float32 in another order: 1e-7 to 1e-6.
Where a rounding of static int8 tips over, outputs move by 2e-5, and the certified size is the cap."""

FEWEST = 8
LOOK_SECONDS = 0.4
"""Each look at the probes ends after so long, once it has seen 8: a start does not wait a minute for
a large model. `jettison verify` looks at all."""

UNDER_LOAD = 0.75
"""Share of the deadline that the queue may fill: batches were timed while nothing else ran, and
reading and writing requests takes time from the same cores."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the rehearsal found.

    Attributes:
        policy: batch cap and queue bounds.
        seconds_by_rows: batch size -> seconds of one call.
        pad: inputs that are padded, with the value that fills them.
        doubts: why the certificate does not cover what runs here; none if it does.
        notes: why the cap is what it is, where a person may wonder.
    """

    policy: BatchPolicy
    seconds_by_rows: Mapping[int, float]
    pad: Mapping[str, float]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]


async def rehearse(engine: Engine, admitted: Admitted, settings: ServeSettings) -> Rehearsal:
    """Runs the stored probes on a loaded model that nothing else uses yet.

    Raises:
        CheckFailed: if the model can't answer its own probes.
    """
    with tempfile.TemporaryDirectory(prefix="jettison-rehearsal-") as folder:
        try:
            rows = await asyncio.to_thread(probe_rows, admitted.probes, Path(folder))
        except (KeyError, ValueError) as error:
            place = admitted.folder / PROBES
            raise CheckFailed(f"the probes {place} can't be read: {error!r}") from error
        try:
            doubts = await _answers(engine, admitted, rows)
            cap, seconds, notes = await _batching(engine, admitted, rows, settings)
        except CandidateFailed as failure:
            raise CheckFailed(
                f"the model of {admitted.folder} can't answer its stored probes: {failure}"
            ) from failure
    row_bytes = _row_bytes(admitted.probes)
    bound = queue_bound(cap, seconds, row_bytes, settings)
    # A full batch may wait, as it may by rows: batches would stay small otherwise.
    room = max(settings.max_queue_bytes, cap * row_bytes)
    policy = BatchPolicy(cap, bound, settings.hold_seconds, room)
    return Rehearsal(policy, seconds, rows.pad, tuple(doubts), tuple(notes))


def queue_bound(
    cap: int, seconds_by_rows: Mapping[int, float], row_bytes: int, settings: ServeSettings
) -> int:
    """How many rows may wait: those that are answered within the deadline, and fit in memory.

    Memory is that of stored rows here; where inputs have free sizes, the batcher also counts what
    really came (`BatchPolicy.max_queue_bytes`).

    Args:
        cap: rows of a full batch.
        seconds_by_rows: measured; at least one size.
        row_bytes: memory of one row's inputs.
        settings: deadline and memory.
    """
    full = max(batch_seconds(cap, seconds_by_rows), 1e-9)
    # One batch is computed when the last row comes, and goes first.
    in_time = int(UNDER_LOAD * settings.deadline_seconds / full - 1.0) * cap
    in_memory = settings.max_queue_bytes // max(row_bytes, 1)
    return max(cap, min(in_time, in_memory))


def batch_seconds(rows: int, seconds_by_rows: Mapping[int, float]) -> float:
    """Seconds of a batch; by the nearest larger size measured, or in proportion to the largest."""
    larger = [size for size in seconds_by_rows if size >= rows]
    if larger:
        return seconds_by_rows[min(larger)]
    largest = max(seconds_by_rows)
    return seconds_by_rows[largest] * rows / largest


async def _answers(engine: Engine, admitted: Admitted, rows: Rows) -> list[str]:
    """Compares with the stored answers: another build of a runtime may compute something else."""
    own = OwnLengths.of(engine.model, rows)
    size = own.batch_size(stored_batch(admitted.served, rows.n))
    until = time.monotonic() + LOOK_SECONDS
    pieces: list[Mapping[str, Array]] = []
    seen = 0
    for batch in rows.batches(size):
        if seen >= FEWEST and time.monotonic() > until:
            break
        pieces.append(own.cut_all(await engine.run(batch), seen))
        seen = min(seen + size, rows.n)
    stored = {
        name: values[:seen]
        for name, values in admitted.probes.items()
        if name.startswith("output.")
    }
    found = joined(pieces, fill=bool(rows.pad))
    if rows.pad:
        # The longest of all rows may not be among those that were run.
        found = {k: filled(v, stored.get(f"output.{k}", v).shape[1:]) for k, v in found.items()}
    return [f"here, {problem}" for problem in unlike_stored(stored, found)]


async def _batching(
    engine: Engine, admitted: Admitted, rows: Rows, settings: ServeSettings
) -> tuple[int, Mapping[int, float], list[str]]:
    """Finds the batch cap: what was certified, what the probes show, and where the knee is."""
    served, target = admitted.served, settings.latency_target_seconds
    certified = 1 if served.one_by_one else max(served.serving.batch_sizes)
    wanted = settings.max_batch_rows or LARGEST_BATCH
    alone = await _alone_because(engine, admitted, rows, wanted)
    if alone:
        knee = await measure_knee(engine, rows, 1, target)
        return 1, knee.seconds_by_rows, [f"served one row at a time: {alone}"]
    if rows.n < ENOUGH_ROWS:
        limit = min(wanted, certified)
        note = (
            f"only {rows.n} probe row(s) are stored, too few to test whether answers change with "
            f"batch mates, so at most {limit} row(s) are batched, as certified"
        )
        cap, seconds = await _knee(engine, rows, limit, settings)
        return cap, seconds, [note]
    cap, seconds = await _knee(engine, rows, wanted, settings)
    if cap <= certified:
        return cap, seconds, []
    apart, seen = await company_difference(engine, rows, cap)
    if apart <= ROUNDING:
        note = (
            f"certified in batches of up to {certified}, batched up to {cap}: {seen} probe rows "
            f"alone and in such a batch differ by {apart:.1e} of the output's scale, which is "
            "rounding"
        )
        return cap, seconds, [note]
    how = "in a label" if math.isinf(apart) else f"by {apart:.1e} of the output's scale"
    note = (
        f"batched up to {certified} row(s), as certified, though {cap} would be quicker: rows "
        f"alone and in such a batch differ {how}; optimise with --batch-size {cap} to certify it"
    )
    return certified, seconds, [note]


async def _knee(
    engine: Engine, rows: Rows, largest: int, settings: ServeSettings
) -> tuple[int, Mapping[int, float]]:
    knee = await measure_knee(engine, rows, largest, settings.latency_target_seconds)
    # A cap that the user fixed is taken as it is; its seconds still bound the queue.
    cap = largest if settings.max_batch_rows else knee.max_batch_rows
    return cap, knee.seconds_by_rows


async def _alone_because(engine: Engine, admitted: Admitted, rows: Rows, largest: int) -> str:
    """Why rows may not share a batch; empty where they may."""
    traits = admitted.served.model.traits
    if "fixed-batch" in traits:
        return "the graph takes only the batch size that it was saved with (`fixed-batch`)"
    if admitted.served.one_by_one:
        return (
            "its answers change with the rows that share a batch (`batch-dependent`), so it was "
            "certified at batch size 1 only"
        )
    found = await engine.batch_dependence(rows, largest)
    if not found.dependent:
        return ""
    return (
        "the test at load found that its answers change with the rows that share a batch (rows "
        f"alone and together differ by {found.largest:.1e} of the output's scale)"
    )


async def company_difference(engine: Engine, rows: Rows, size: int) -> tuple[float, int]:
    """Largest difference between probe rows alone and in batches of `size` rows.

    Returns:
        It, as a fraction of each output's scale (`inf` where a label or a missing value differs), and
        how many rows were looked at.
    """
    until = time.monotonic() + LOOK_SECONDS
    alone = []
    for place in range(rows.n):
        if place >= FEWEST and time.monotonic() > until:
            break
        alone.append(await engine.run(rows.batch(np.arange(place, place + 1))))
    seen = len(alone)
    starts = range(0, seen, size)
    places = [np.arange(start, start + size) % rows.n for start in starts]
    own, ragged = OwnLengths.of(engine.model, rows), bool(rows.pad)
    batches = [own.cut_all(await engine.run(rows.batch(one)), one) for one in places]
    together = joined(batches, fill=ragged)
    prediction, task = engine.model.prediction, engine.model.task
    worst = 0.0
    apart = joined(alone, fill=ragged)
    for name in apart.keys() & together.keys():
        labels = name == prediction and task == "classification"
        found = difference(apart[name], together[name][:seen], math.inf, labels)
        worst = max(worst, math.inf if found.differing else found.largest)
    return worst, seen


def _row_bytes(probes: Mapping[str, Array]) -> int:
    """Memory of one row of inputs, by the longest row that is stored."""
    inputs = [v for name, v in probes.items() if name.startswith("input.")]
    return sum(v.nbytes // max(len(v), 1) for v in inputs if len(v))
