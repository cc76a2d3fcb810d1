"""From readings to estimates: launches are the sample, rounds are paired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from jettison.domain.extension_points import CostReading
from jettison.domain.jobs import Ready
from jettison.machine import Contention
from jettison.metrics.latency import LatencyMs
from jettison.metrics.memory import SizeBytes
from jettison.timing.estimates import cost_estimates, gain_estimates
from jettison.timing.launches import Launch


def launch(
    rounds: Mapping[str, Sequence[float]], sizes: Mapping[str, float] | None = None
) -> Launch:
    """A launch whose readings at batch sizes 1 and 8 are 1.5 and 0.5 of the overall value."""
    return Launch(
        rounds={
            name: {"latency_ms": [CostReading(v, {1: 1.5 * v, 8: 0.5 * v}, 5) for v in values]}
            for name, values in rounds.items()
        },
        exact={n: {"size_bytes": CostReading(v, {}, 1)} for n, v in (sizes or {}).items()},
        ready={name: Ready(0.1, 0.01, 1) for name in rounds},
        contention=Contention(1.0, 0.0, 0.0, 0.0, None),
        busy=False,
    )


def test_drift_within_a_launch_cancels() -> None:
    """The machine slows down threefold between rounds; the ratio within rounds is unchanged."""
    launches = [launch({"baseline": [10, 20, 30], "fast": [5, 10, 15]}) for _ in range(3)]
    gains = {
        e.group: e for e in gain_estimates("baseline", "fast", launches, LatencyMs(), noisy=False)
    }
    assert set(gains) == {"overall", "batch=1", "batch=8"}
    assert gains["overall"].value == pytest.approx(2.0)
    assert gains["overall"].low == pytest.approx(2.0)
    assert gains["overall"].n == 3
    assert gains["overall"].metric == "latency_ms:gain"
    assert gains["overall"].better == "higher"


def test_the_interval_is_over_launches_not_rounds() -> None:
    """Launches that differ by 2 % give Student's interval of 2 launches, whatever the rounds."""
    launches = [
        launch({"baseline": [100] * 50, "other": [100] * 50}),
        launch({"baseline": [102] * 50, "other": [100] * 50}),
    ]
    gain = next(gain_estimates("baseline", "other", launches, LatencyMs(), noisy=False))
    half = 12.706 * math.log(1.02) / 2
    assert gain.low == pytest.approx(math.exp(math.log(1.02) / 2 - half), rel=1e-3)
    assert gain.n == 2


def test_one_launch_has_no_interval() -> None:
    """The spread of one launch is unknown, and a missing number is not invented."""
    gain = next(
        gain_estimates(
            "baseline", "fast", [launch({"baseline": [2], "fast": [1]})], LatencyMs(), noisy=False
        )
    )
    assert gain.value == pytest.approx(2.0)
    assert gain.low is None
    assert gain.high is None


def test_noise_marks_times_and_not_sizes() -> None:
    """Contention forbids claims about time; a file has the size it has."""
    launches = [launch({"baseline": [2], "small": [1]}, {"baseline": 400, "small": 100})] * 2
    time = next(cost_estimates("small", launches, LatencyMs(), noisy=True))
    size = next(gain_estimates("baseline", "small", launches, SizeBytes(), noisy=True))
    assert time.state == "noisy"
    assert size.state == "ok"
    assert (size.value, size.low, size.high) == pytest.approx((4.0, 4.0, 4.0))


def test_a_launch_is_the_median_of_its_rounds() -> None:
    """One disturbed round does not move the figure."""
    launches = [launch({"baseline": [10, 10, 500]}), launch({"baseline": [10, 10, 10]})]
    overall = next(cost_estimates("baseline", launches, LatencyMs(), noisy=False))
    assert overall.value == pytest.approx(10.0)
    assert overall.unit == "ms"
