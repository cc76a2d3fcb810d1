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

ROUNDS = 50
BUDGET_SECONDS = 0.6
"""For the way up, and again for the rounds; a size that has begun is finished."""

FAR_BEYOND = 4.0
"""A first call that takes so many times the target is not repeated."""

NEAR = 1.2
"""A size is looked at closely unless its best call took more than this share of the target."""


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
    batch that takes longer than the target (by its median call), or when its time is up.

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
    near = [size for size, (best,) in times.items() if best <= NEAR * target_seconds]
    begun = time.perf_counter()
    for _, size in itertools.product(range(ROUNDS), near):
        if time.perf_counter() - begun + min(times[size]) <= BUDGET_SECONDS:
            times[size].append(await _timed(engine, rows, size))
    medians = {size: statistics.median(seconds) for size, seconds in times.items()}
    fitting = {
        size: min(seconds) for size, seconds in times.items() if medians[size] <= target_seconds
    }
    return Knee(chosen_cap(fitting), medians)


def chosen_cap(fastest_by_rows: Mapping[int, float]) -> int:
    """Gives the smallest batch that is within `SLACK` of the best rows per second.

    Args:
        fastest_by_rows: batch size -> seconds of its fastest call, for the sizes within the target.
            The fastest, because others on the machine only ever add to a call; on a busy machine
            they would otherwise choose the cap.
    """
    if not fastest_by_rows:
        return 1
    rates = {n: n / seconds if seconds > 0 else math.inf for n, seconds in fastest_by_rows.items()}
    best = max(rates.values())
    return min(n for n, rate in rates.items() if rate >= (1.0 - SLACK) * best)


async def _way_up(
    engine: Engine, rows: Rows, largest: int, target_seconds: float
) -> dict[int, list[float]]:
    """Times each size once or twice, for as long as they stay within the target."""
    times: dict[int, list[float]] = {}
    begun = time.perf_counter()
    for size in _sizes(largest):
        seconds = await _timed(engine, rows, size)
        if seconds <= FAR_BEYOND * target_seconds:
            # The first call of a size allocates.
            seconds = min(seconds, await _timed(engine, rows, size))
        times[size] = [seconds]
        if seconds > target_seconds or time.perf_counter() - begun > BUDGET_SECONDS:
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
