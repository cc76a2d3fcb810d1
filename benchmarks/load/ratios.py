"""Ratios of two servers over the rounds of one run, with a bootstrap interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jettison.statistics.intervals import Interval

RESAMPLES = 10_000
FEWEST_ROUNDS = 4


def bootstrap_median(values: ArrayLike, seed: int = 0) -> Interval:
    """The median over rounds with its percentile bootstrap interval at 95 %.

    Rounds are drawn again, not requests: requests of one round share whatever the machine did
    then. With few rounds the interval is somewhat too short; the number of rounds stands beside it.

    Args:
        values: one per round, shape (n,).
        seed: of the resampling.

    Returns:
        With fewer than 4 rounds the ends are NaN.

    >>> found = bootstrap_median([1.0, 1.0, 1.0, 1.0])
    >>> found.value, found.low, found.high, found.n
    (1.0, 1.0, 1.0, 4)
    """
    x = np.asarray(values, dtype=np.float64)
    middle = float(np.median(x)) if x.size else float("nan")
    if x.size < FEWEST_ROUNDS:
        return Interval(middle, float("nan"), float("nan"), x.size)
    drawn = np.random.default_rng(seed).integers(0, x.size, (RESAMPLES, x.size))
    low, high = np.quantile(np.median(x[drawn], axis=1), [0.025, 0.975])
    return Interval(middle, float(low), float(high), x.size)


def ratio(numerators: ArrayLike, denominators: ArrayLike, seed: int = 0) -> Interval:
    """The median of the log ratios of rounds, as a ratio, with its bootstrap interval.

    Args:
        numerators, denominators: one pair per round, shape (n,), all positive.
        seed: of the resampling.

    >>> found = ratio([2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0])
    >>> round(found.value, 6), round(found.low, 6)
    (2.0, 2.0)
    """
    logs = np.log(np.asarray(numerators, dtype=np.float64))
    logs = logs - np.log(np.asarray(denominators, dtype=np.float64))
    one = bootstrap_median(logs, seed)
    value, low, high = np.exp([one.value, one.low, one.high]).tolist()
    return Interval(value, low, high, one.n)
