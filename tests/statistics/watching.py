"""Simulated streams of outcomes and of features, for the tests and benchmarks/quality_watch.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from jettison.statistics.betting import BettingTest
from jettison.statistics.drift import bin_counts, compare, equal_mass_edges

Floats = NDArray[np.float64]

ALPHA = 0.05
CHURN = 0.02
"""Rows on which the two models differ where there is no drop."""


def stream(
    rng: np.random.Generator, n: int, drop: float, swing: bool = False, start: int = 0
) -> Floats:
    """Draws paired 0/1 differences: the drop, or one that swings between -drop and +drop.

    Args:
        rng: source of randomness.
        n: outcomes.
        drop: true mean.
        swing: whether the mean moves as a wave of 500 outcomes that never exceeds the drop.
        start: outcomes without any drop that come first.
    """
    means = np.full(n, drop)
    if swing:
        means = drop * np.sin(np.arange(n) / 80.0)
    means[:start] = 0.0
    both = CHURN + np.abs(means)
    u = rng.random(n)
    return (u < (both + means) / 2).astype(np.float64) - (u > 1 - (both - means) / 2)


def first_alarms(
    runs: int, n: int, *, drop: float, margin: float, seed: int, look: int = 10, start: int = 0
) -> NDArray[np.int64]:
    """After how many outcomes (counted from `start`) each run raises its alarm; n if never."""
    rng = np.random.default_rng(seed)
    found = np.full(runs, n, np.int64)
    for run in range(runs):
        test = BettingTest(margin, ALPHA)
        drops = stream(rng, start + n, drop, start=start)
        for place in range(0, start + n, look):
            test.add(drops[place : place + look])
            if test.broken:
                found[run] = max(0, min(place + look - start, n))
                break
    return found


def ever_broken(
    runs: int,
    n: int,
    *,
    drop: float,
    margin: float,
    seed: int,
    swing: bool = False,
    naive: bool = False,
) -> float:
    """Share of runs that raise an alarm at any of the looks, one after each outcome.

    Looking after each is simulated exactly but quickly: the money can only rise on an outcome
    above the margin, so it is looked at after each loss.
    """
    rng = np.random.default_rng(seed)
    alarms = 0
    for _ in range(runs):
        drops = stream(rng, n, drop, swing)
        alarms += _naive(drops, margin) if naive else _betting(drops, margin)
    return alarms / runs


def _betting(drops: Floats, margin: float) -> bool:
    test = BettingTest(margin, ALPHA)
    begun = 0
    for place in np.flatnonzero(drops > 0):
        test.add(drops[begun : place + 1])
        begun = int(place) + 1
        if test.broken:
            return True
    test.add(drops[begun:])
    return test.broken


def _naive(drops: Floats, margin: float) -> bool:
    """A one-sided z-test at each look from the 100th outcome on."""
    n = np.arange(1, drops.size + 1)
    mean = np.cumsum(drops) / n
    deviation = np.sqrt(np.maximum(np.cumsum(np.square(drops)) / n - mean**2, 1e-12))
    z = (mean - margin) / (deviation / np.sqrt(n))
    return bool((z[100:] > special.ndtri(1 - ALPHA)).any())


def drift_alarms(
    windows: int, reference: int, *, live: int, features: int, seed: int, shift: float = 0.0
) -> float:
    """Share of windows in which any feature is called drifted; features are normal or skewed.

    Args:
        windows: each with a fresh reference and fresh live values.
        reference: rows behind the sketch.
        live: rows in a window.
        features: that are looked at together.
        seed: of the draws.
        shift: of the live values, in standard deviations.
    """
    rng = np.random.default_rng(seed)
    alarms = 0
    for _ in range(windows):
        before = rng.normal(size=(features, reference))
        after = rng.normal(shift, 1.0, size=(features, live))
        drifted = False
        for place in range(features):
            if place % 2:
                before[place], after[place] = np.exp(before[place]), np.exp(after[place])
            edges = equal_mass_edges(before[place], min(20, max(2, reference // 10)))
            found = compare(
                bin_counts(before[place], edges).tolist(),
                bin_counts(after[place], edges).tolist(),
                ordered=True,
                tests=features,
            )
            drifted |= found is not None and found.drifted
        alarms += drifted
    return alarms / windows
