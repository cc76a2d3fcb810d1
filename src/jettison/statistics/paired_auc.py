"""Areas under two ROC curves on the same rows, their difference, and intervals (DeLong et al. 1988).

E. DeLong, D. DeLong and D. Clarke-Pearson, "Comparing the areas under two or more correlated receiver
operating characteristic curves" (Biometrics 44, 1988), equations 4 to 6; midranks make it
n log n (Sun and Xu 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FEWEST = 30
"""Rows of each kind below which the normal approximation is not to be trusted."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Area:
    """An area, or a difference of two, with its interval; `value` 0.5 is no better than a coin."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedAreas:
    """Two areas on the same rows, and the second minus the first."""

    first: Area
    second: Area
    difference: Area


def paired_areas(positives: Floats, negatives: Floats, confidence: float = 0.95) -> PairedAreas:
    """Computes both areas with intervals.

    Args:
        positives: scores of both curves on the positive rows, shape (2, m); higher says positive.
        negatives: on the negative rows, shape (2, n).
        confidence: of each interval, two-sided.

    Raises:
        ValueError: for other shapes, or fewer than `FEWEST` rows of a kind.

    >>> rng = np.random.default_rng(0)
    >>> scores = rng.normal(size=(2, 200))
    >>> paired_areas(scores + 1, scores[:, ::-1]).difference.value < 0.1
    True
    """
    m, n = positives.shape[1], negatives.shape[1]
    if positives.shape[0] != 2 or negatives.shape[0] != 2:
        raise ValueError(f"two rows of scores are needed; got {positives.shape}, {negatives.shape}")
    if min(m, n) < FEWEST:
        raise ValueError(f"at least {FEWEST} rows of each kind are needed; got {m} and {n}")
    above = np.empty((2, m))
    below = np.empty((2, n))
    for curve in (0, 1):
        both = stats.rankdata(np.concatenate([positives[curve], negatives[curve]]))
        above[curve] = (both[:m] - stats.rankdata(positives[curve])) / n
        below[curve] = 1.0 - (both[m:] - stats.rankdata(negatives[curve])) / m
    areas = above.mean(axis=1)
    covariance = np.cov(above) / m + np.cov(below) / n
    width = float(stats.norm.ppf(0.5 + confidence / 2))

    def area(weights: Floats, low: float) -> Area:
        value = float(weights @ areas)
        spread = width * float(np.sqrt(max(weights @ covariance @ weights, 0.0)))
        return Area(value, max(value - spread, low), min(value + spread, 1.0))

    return PairedAreas(
        area(np.array([1.0, 0.0]), 0.0),
        area(np.array([0.0, 1.0]), 0.0),
        area(np.array([-1.0, 1.0]), -1.0),
    )
