"""From the readings of launches to estimates: a launch is a median, the sample is the launches."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from jettison.domain.extension_points import CostMetric, CostReading
from jettison.domain.measurement import OVERALL, Estimate, cell_group
from jettison.domain.run import GAIN
from jettison.statistics.intervals import Interval, log_ratio_interval
from jettison.timing.launches import Launch


def cost_estimates(
    name: str, launches: Sequence[Launch], cost: CostMetric, noisy: bool
) -> Iterator[Estimate]:
    """A cost of one variant, overall (weighted by the serving profile) and per batch size.

    The value of a timed cost is the geometric mean over launches of the median over rounds, with
    Student's interval over launches. For another cost it is the median over launches, and the
    interval is the smallest and largest seen.
    """
    series = _series(name, launches, cost)
    for group, per_launch in series.items():
        if cost.timed:
            logs = [statistics.median(_log(v) for v in rounds) for rounds in per_launch]
            interval = log_ratio_interval(logs)
        else:
            flat = [rounds[0] for rounds in per_launch]
            interval = Interval(statistics.median(flat), min(flat), max(flat), len(flat))
        state = noisy and cost.timed
        yield estimate(cost.name, group, interval, cost.unit, cost, noisy=state)


def gain_estimates(
    baseline: str, name: str, launches: Sequence[Launch], cost: CostMetric, noisy: bool
) -> Iterator[Estimate]:
    """How many times better a cost is than the baseline's: see `jettison.domain.run.GAIN`.

    For a timed cost, a launch is the median over rounds of the log ratio within the round.
    """
    before, after = _series(baseline, launches, cost), _series(name, launches, cost)
    for group in before:
        logs = [
            statistics.median(_log(a) - _log(b) for a, b in zip(first, second))
            for first, second in zip(before[group], after[group])
        ]
        if cost.better == "higher":
            logs = [-value for value in logs]
        if cost.timed:
            interval = log_ratio_interval(logs)
        else:
            ratios = [math.exp(value) for value in logs]
            interval = Interval(statistics.median(ratios), min(ratios), max(ratios), len(ratios))
        state = noisy and cost.timed
        yield estimate(cost.name + GAIN, group, interval, "ratio", cost, noisy=state)


def estimate(
    metric: str, group: str, interval: Interval, unit: str, cost: CostMetric, *, noisy: bool
) -> Estimate:
    """Makes an estimate; what can't be known is `None`."""
    better = "higher" if metric.endswith(GAIN) else cost.better
    return Estimate(
        metric,
        group,
        _known(interval.value),
        _known(interval.low),
        _known(interval.high),
        interval.n,
        unit,
        better,
        "noisy" if noisy else "ok",
    )


def launch_log_ratios(
    baseline: str, name: str, launches: Sequence[Launch], cost: CostMetric
) -> list[float]:
    """Log of baseline / candidate of the weighted cost, one per launch."""
    before = _series(baseline, launches, cost)[OVERALL]
    after = _series(name, launches, cost)[OVERALL]
    return [
        statistics.median(_log(a) - _log(b) for a, b in zip(first, second))
        for first, second in zip(before, after)
    ]


def _series(
    name: str, launches: Sequence[Launch], cost: CostMetric
) -> dict[str, list[list[float]]]:
    """Group -> launch -> readings."""
    series: dict[str, list[list[float]]] = {}
    for launch in launches:
        readings: Sequence[CostReading] = (
            launch.rounds[name][cost.name] if cost.timed else [launch.exact[name][cost.name]]
        )
        series.setdefault(OVERALL, []).append([reading.value for reading in readings])
        for size in readings[0].by_batch_size:
            values = [reading.by_batch_size[size] for reading in readings]
            series.setdefault(cell_group(size), []).append(values)
    return series


def _log(value: float) -> float:
    # A clock that did not advance gives 0: the smallest time that it can tell stands for it.
    return math.log(max(value, 1e-9))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
