"""How many rows a batch should hold: measured on the model as it is served, at load."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Rows
from jettison.serving.engine import Engine

SLACK = 0.05
"""The cap is the smallest batch that reaches all but this share of the best rows per second:
a larger one would make every caller wait longer for a gain that nobody sees."""

ROUNDS = 7
BUDGET_SECONDS = 2.0
"""For the way up, and again for the rounds; a size that has begun is finished."""

FAR_BEYOND = 4.0
"""A first call that takes so many times the target is not repeated."""

HOPELESS = 0.7
"""A size that reaches less than this share of the best rows per second ends the way up."""


@dataclass(frozen=True, slots=True)
class Knee:
    """What the sweep found.

    Attributes:
        max_batch_rows: the cap.
        seconds_by_rows: batch size -> median seconds of a call, hand-over to the thread included.
    """

    max_batch_rows: int
    seconds_by_rows: Mapping[int, float]


async def measure_knee(engine: Engine, rows: Rows, largest: int, target_seconds: float) -> Knee:
    """Sweeps batch sizes 1, 2, 4, ... and picks the smallest that is nearly as fast as any.

    Sizes take turns, so that a disturbance hits all of them. The way up ends at `largest`, at a
    batch that takes longer than the target, or where larger batches have become clearly slower.

    Args:
        engine: a loaded model; nothing else should run on it now.
        rows: some that it will meet, repeated where there are fewer than a batch holds.
        largest: the largest batch allowed.
        target_seconds: the longest that one batch may take.

    Returns:
        A cap of 1 for a model that must be run row by row (`fixed-batch`, `batch-dependent`), and
        for one whose single rows already take longer than the target.
    """
    if engine.model.traits & {"fixed-batch", "batch-dependent"}:
        largest = 1
    times = await _way_up(engine, rows, largest, target_seconds)
    begun = time.perf_counter()
    for _, size in itertools.product(range(ROUNDS), tuple(times)):
        if time.perf_counter() - begun + times[size][-1] > BUDGET_SECONDS:
            continue
        times[size].append(await _timed(engine, rows, size))
    medians = {size: statistics.median(seconds) for size, seconds in times.items()}
    return Knee(chosen_cap(medians, target_seconds), medians)


def chosen_cap(seconds_by_rows: Mapping[int, float], target_seconds: float) -> int:
    """Gives the smallest batch within the target that is within `SLACK` of the best rows/s."""
    fitting = {n: s for n, s in seconds_by_rows.items() if s <= target_seconds}
    if not fitting:
        return min(seconds_by_rows, default=1)
    best = max(_rate(n, s) for n, s in fitting.items())
    return min(n for n, s in fitting.items() if _rate(n, s) >= (1.0 - SLACK) * best)


async def _way_up(
    engine: Engine, rows: Rows, largest: int, target_seconds: float
) -> dict[int, list[float]]:
    """Times each size after one call to warm up; gives those that are worth a closer look."""
    times: dict[int, list[float]] = {}
    best = 0.0
    begun = time.perf_counter()
    for size in _sizes(largest):
        first = await _timed(engine, rows, size)
        if first <= FAR_BEYOND * target_seconds:
            # The first call of a size allocates; the better of two is not a passing disturbance.
            first = min([await _timed(engine, rows, size) for _ in range(2)])
        times[size] = [first]
        best = max(best, _rate(size, first))
        if first > target_seconds or _rate(size, first) < HOPELESS * best:
            break
        if time.perf_counter() - begun > BUDGET_SECONDS:
            break
    return times


async def _timed(engine: Engine, rows: Rows, size: int) -> float:
    batch = rows.batch(np.arange(size) % rows.n)
    begun = time.perf_counter()
    await engine.run(batch)
    return time.perf_counter() - begun


def _sizes(largest: int) -> Sequence[int]:
    """1, 2, 4, ... up to and including the largest."""
    powers = [2**k for k in range(max(1, largest).bit_length())]
    return powers if powers[-1] == max(1, largest) else [*powers, largest]


def _rate(rows: int, seconds: float) -> float:
    return rows / seconds if seconds > 0 else math.inf
