"""Intervals for reports; none of them decides a verdict.

Sources: C. Clopper and E. Pearson, Biometrika 26 (1934); E. Wilson, JASA 22 (1927);
R. Newcombe, "Improved confidence intervals for the difference between binomial proportions based
on paired data", Statistics in Medicine 17 (1998), method 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

__all__ = [
    "Interval",
    "clopper_pearson_interval",
    "log_ratio_interval",
    "mean_interval",
    "newcombe_interval",
    "wilson_interval",
]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its two-sided interval and the count behind it; NaN where it can't be known."""

    value: float
    low: float
    high: float
    n: int


def clopper_pearson_interval(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Computes the exact interval of a proportion; it covers at least as often as stated.

    >>> interval = clopper_pearson_interval(0, 100)
    >>> round(interval.high, 4)
    0.0362
    """
    tail = _tail(confidence)
    _check_count(k, n)
    low = float(special.betaincinv(k, n - k + 1, tail)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1.0 - tail)) if k < n else 1.0
    return Interval(k / n if n else math.nan, low, high, n)


def wilson_interval(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Computes the score interval of a proportion; it covers about as often as stated.

    >>> interval = wilson_interval(90, 100)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.826, 0.945)
    """
    z = float(special.ndtri(1.0 - _tail(confidence)))
    _check_count(k, n)
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    share, spread = k / n, z * z / n
    centre = (share + spread / 2.0) / (1.0 + spread)
    half = math.sqrt(share * (1.0 - share) * spread + spread * spread / 4.0) / (1.0 + spread)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n)


def newcombe_interval(b: int, c: int, both: int, n: int, confidence: float = 0.95) -> Interval:
    """Computes the interval of the drop of a paired 0/1 metric, for display.

    Args:
        b: rows that only the baseline got right.
        c: rows that only the candidate got right.
        both: rows that both got right.
        n: all rows.
        confidence: two-sided.

    Returns:
        The drop (b - c) / n with its interval; positive is worse.

    >>> interval = newcombe_interval(15, 15, 900, 1000)
    >>> round(interval.low, 4), round(interval.high, 4)
    (-0.0113, 0.0113)
    """
    _check_count(b + c + both, n)
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    first = wilson_interval(both + b, n, confidence)
    second = wilson_interval(both + c, n, confidence)
    neither = n - both - b - c
    spread = math.sqrt(float(both + b) * float(c + neither) * float(both + c) * float(b + neither))
    # Newcombe's continuity correction of a positive correlation keeps coverage in small samples.
    excess = float(both * neither - b * c)
    excess = max(excess - n / 2.0, 0.0) if excess > 0 else excess
    phi = excess / spread if spread > 0 else 0.0
    drop = (b - c) / n
    low_first, high_first = first.value - first.low, first.high - first.value
    low_second, high_second = second.value - second.low, second.high - second.value
    below = low_first**2 - 2.0 * phi * low_first * high_second + high_second**2
    above = high_first**2 - 2.0 * phi * high_first * low_second + low_second**2
    low, high = drop - math.sqrt(max(below, 0.0)), drop + math.sqrt(max(above, 0.0))
    return Interval(drop, max(low, -1.0), min(high, 1.0), n)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes Student's interval of a mean.

    Args:
        values: shape (n,), independent.
        confidence: two-sided.

    Returns:
        With fewer than two values the ends are NaN: one value says nothing of its spread.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.484, 4.484)
    """
    tail = _tail(confidence)
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"values must have shape (n,); got {x.shape}")
    if x.size < 2:
        return Interval(float(x[0]) if x.size else math.nan, math.nan, math.nan, x.size)
    mean = float(x.mean())
    half = float(stats.t.ppf(1.0 - tail, x.size - 1)) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return Interval(mean, mean - half, mean + half, x.size)


def log_ratio_interval(launch_log_ratios: ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes the geometric mean of ratios with Student's interval over launches.

    A launch of a pair of processes carries its own bias, so launches, not rounds, are the sample.

    Args:
        launch_log_ratios: log of candidate over baseline, one per launch, shape (n,).
        confidence: two-sided.

    Returns:
        Ratio, low, high and the number of launches; below two launches the ends are NaN.

    >>> interval = log_ratio_interval(np.log([0.5, 0.5, 0.5]))
    >>> round(interval.value, 6), round(interval.high, 6), interval.n
    (0.5, 0.5, 3)
    """
    one = mean_interval(launch_log_ratios, confidence)
    return Interval(math.exp(one.value), math.exp(one.low), math.exp(one.high), one.n)


def _tail(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, exclusive; got {confidence}")
    return (1.0 - confidence) / 2.0


def _check_count(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"counts must be from 0 to n; got {k} of {n}")
