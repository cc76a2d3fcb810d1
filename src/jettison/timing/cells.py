"""The latency at each batch size and each length: the cells of the serving profile."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from jettison.domain.device import ServingProfile
from jettison.domain.measurement import Estimate, cell_group
from jettison.domain.rows import Rows
from jettison.domain.run import GAIN
from jettison.statistics.intervals import Interval, log_ratio_interval
from jettison.worker_client import WorkerSession

COST = "latency_ms"
ROUNDS = 3
SHARES = (0.1, 0.5, 0.9)
"""Shares of the rows that the lengths shown reach, where the user names none."""

Cell = tuple[int, int]
"""Batch size and length."""

CellReadings = Mapping[Cell, Sequence[float]]


def lengths_to_show(rows: Rows, serving: ServingProfile) -> tuple[int, ...]:
    """The lengths of ragged rows at which the latency is read; empty where nothing is ragged.

    A length that no row reaches is left out (`left_out` says so): the model may not take it.
    """
    lengths = rows.lengths()
    if lengths is None or not rows.n:
        return ()
    known = np.asarray(lengths[: rows.n])
    wanted = serving.lengths or tuple(math.ceil(value) for value in np.quantile(known, SHARES))
    longest = int(known.max())
    return tuple(sorted({length for length in wanted if 0 < length <= longest}))


def left_out(rows: Rows, serving: ServingProfile) -> tuple[str, ...]:
    """A note on lengths that the user named and that are not shown; none where all are."""
    shown = lengths_to_show(rows, serving)
    missing = [str(length) for length in serving.lengths if length not in shown]
    if not missing:
        return ()
    lengths = rows.lengths()
    why = "rows have one length" if lengths is None else f"no row is longer than {max(lengths)}"
    return (f"Not timed at {', '.join(missing)} of `serving.lengths`: {why}.",)


def play_cells(
    sessions: Mapping[str, WorkerSession],
    batch_sizes: Sequence[int],
    lengths: Sequence[int],
    order: random.Random,
) -> dict[str, dict[Cell, list[float]]]:
    """Gives every variant its turn at every cell, in random order, a few rounds.

    Returns:
        Variant -> cell -> milliseconds per example, one for each round, in the same order of
        rounds for all. One timed call after a discarded one, as short calls are repeated.
    """
    found: dict[str, dict[Cell, list[float]]] = {name: {} for name in sessions}
    for _ in range(ROUNDS if lengths else 0):
        for size in batch_sizes:
            for length in lengths:
                for name in order.sample(sorted(sessions), len(sessions)):
                    burst = sessions[name].burst(size, 1, length)
                    readings = found[name].setdefault((size, length), [])
                    readings.append(statistics.median(burst.seconds) / size * 1e3)
    return found


def cell_estimates(
    baseline: str, name: str, launches: Sequence[Mapping[str, CellReadings]], *, noisy: bool
) -> Iterator[Estimate]:
    """The latency of a variant in each cell, and the gain over the baseline's within the rounds.

    A launch is the median over its rounds; the interval is over launches.
    """
    state: Literal["ok", "noisy"] = "noisy" if noisy else "ok"
    for cell in launches[0].get(name, {}) if launches else ():
        own = [_logs(launch[name][cell]) for launch in launches]
        interval = log_ratio_interval([statistics.median(values) for values in own])
        yield Estimate(COST, cell_group(*cell), *_ends(interval), len(own), "ms", "lower", state)
        if name != baseline:
            ratios = [
                statistics.median(a - b for a, b in zip(_logs(launch[baseline][cell]), values))
                for launch, values in zip(launches, own)
            ]
            gain = _ends(log_ratio_interval(ratios))
            yield Estimate(
                COST + GAIN, cell_group(*cell), *gain, len(ratios), "ratio", "higher", state
            )


def _logs(readings: Sequence[float]) -> list[float]:
    return [math.log(max(value, 1e-9)) for value in readings]


def _ends(interval: Interval) -> tuple[float | None, float | None, float | None]:
    value, low, high = (
        end if math.isfinite(end) else None for end in (interval.value, interval.low, interval.high)
    )
    return value, low, high
