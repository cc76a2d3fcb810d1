"""Tests that a 0/1 metric has not dropped by the margin, valid at every sample size (grade A).

Notation: of n rows, b were right with the baseline and wrong with the candidate, c the reverse.
The drop is p10 - p01. Two one-sided tests share the margin:

* non-inferiority: a small p-value says that the drop is below the margin (`held`);
* harm: a small p-value says that the drop is above the margin (`broken`).

Both order the tables by Tango's score and take the worst case over the nuisance p01 inside a
Clopper-Pearson interval, whose own error is added to the p-value (R. Berger and D. Boos, "P values
maximized over a confidence set for the nuisance parameter", JASA 89 (1994), 1012-1016). Exact
McNemar is no substitute: b given b + c depends on the disagreement as soon as the margin isn't 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from jettison.statistics.score import ScoreTail, tango_statistic

__all__ = [
    "agreement_harm_p_value",
    "agreement_p_value",
    "agreement_upper_bound",
    "paired_binary_harm_p_value",
    "paired_binary_p_value",
    "paired_binary_upper_bound",
    "tango_z",
]

# Error of the interval for p01, added to every p-value.
NUISANCE_ERROR = 1e-5
# Grid spacing in standard deviations (Fisher length); then the gaps beside the highest peaks are
# filled, twice. What is found is within 5e-6 of a search on a grid a hundred times finer.
GRID_STEP = 0.5
REFINED_PEAKS = (4, 2)
WIDEST_MARGIN = 1.0 - 1e-6


def tango_z(b: int, c: int, n: int, margin: float) -> float:
    """Computes Tango's score for one table; see `score.tango_statistic`.

    >>> round(tango_z(3, 3, 600, 0.01), 3)
    -1.934
    """
    _check_table(b, c, n)
    return float(tango_statistic(b, c, n, margin))


@lru_cache(maxsize=1 << 17)
def paired_binary_p_value(b: int, c: int, n: int, margin: float) -> float:
    """Computes the p-value of "the drop is at least the margin"; small means non-inferior.

    Valid at every n and every disagreement: P(p-value <= alpha) <= alpha for each state with
    p10 - p01 >= margin. It suffices to look at p10 = p01 + margin, because the score grows
    with b, so that a larger p10 only makes a small score rarer.

    Args:
        b: rows that only the baseline got right.
        c: rows that only the candidate got right.
        n: all rows.
        margin: between -1 and 1, exclusive, as a fraction of rows.

    Raises:
        ValueError: if the counts don't fit n, or the margin is out of range.

    >>> paired_binary_p_value(0, 0, 299, 0.01) <= 0.05 < paired_binary_p_value(0, 0, 298, 0.01)
    True
    """
    _check_table(b, c, n)
    if not -1.0 < margin < 1.0:
        raise ValueError(f"margin must lie between -1 and 1, exclusive; got {margin}")
    if n == 0:
        return 1.0
    score = ScoreTail(float(tango_statistic(b, c, n, margin)), n, margin)
    grid = nuisance_grid(c, n, margin)
    tail = score.probability(grid + margin, grid)
    for peaks in REFINED_PEAKS:
        if grid.size > 1:
            fine = _beside_peaks(grid, tail, peaks)
            grid = np.concatenate([grid, fine])
            order = np.argsort(grid, kind="stable")
            tail = np.concatenate([tail, score.probability(fine + margin, fine)])
            grid, tail = grid[order], tail[order]
    return min(float(tail.max()) + NUISANCE_ERROR, 1.0)


def paired_binary_harm_p_value(b: int, c: int, n: int, margin: float) -> float:
    """Computes the p-value of "the drop is at most the margin"; small means broken.

    It is the non-inferiority test with the roles of the models exchanged: a drop of at most
    `margin` from baseline to candidate is a drop of at least `-margin` from candidate to baseline.

    >>> paired_binary_harm_p_value(60, 5, 500, 0.01) < 0.001
    True
    """
    return paired_binary_p_value(c, b, n, -margin)


@lru_cache(maxsize=1 << 14)
def paired_binary_upper_bound(b: int, c: int, n: int, alpha: float = 0.05) -> float:
    """Finds the smallest margin that these rows would certify (the certifiable tolerance).

    Args:
        b: rows that only the baseline got right.
        c: rows that only the candidate got right.
        n: all rows.
        alpha: one-sided error rate.

    Returns:
        A margin whose p-value is at most alpha, above the smallest by at most a thousandth of its
        distance from the drop seen; 1 if there is none.

    >>> round(paired_binary_upper_bound(0, 0, 299), 4)
    0.01
    """
    _check_table(b, c, n)
    _check_alpha(alpha)
    if n == 0 or paired_binary_p_value(b, c, n, WIDEST_MARGIN) > alpha:
        return 1.0
    estimate = (b - c) / n
    critical = float(special.ndtri(alpha))
    rough = _bisect(lambda m: tango_z(b, c, n, m) <= critical, estimate, WIDEST_MARGIN, 1e-7)
    step = 0.05 * (rough - estimate) + 1e-6

    def certified(margin: float) -> bool:
        return paired_binary_p_value(b, c, n, margin) <= alpha

    high = rough
    while not certified(high):
        high, step = min(high + step, WIDEST_MARGIN), 2 * step
    low = max(estimate, high - step)
    while low > estimate and certified(low):
        high, low, step = low, max(estimate, low - step), 2 * step
    return _bisect(certified, low, high, max(1e-6, 1e-3 * (rough - estimate)))


def agreement_p_value(disagreements: int, n: int, margin: float) -> float:
    """Computes the p-value of "the models disagree on at least `margin` of rows" (exact binomial).

    The drop of any 0/1 metric is at most the disagreement, so it also certifies without labels.

    >>> agreement_p_value(0, 299, 0.01) <= 0.05 < agreement_p_value(0, 298, 0.01)
    True
    """
    _check_table(disagreements, 0, n)
    _check_fraction(margin)
    return float(special.bdtr(disagreements, n, margin)) if n else 1.0


def agreement_harm_p_value(disagreements: int, n: int, margin: float) -> float:
    """Computes the p-value of "the models disagree on at most `margin` of rows"; small: broken.

    >>> agreement_harm_p_value(0, 100, 0.01)
    1.0
    """
    _check_table(disagreements, 0, n)
    _check_fraction(margin)
    return float(special.bdtrc(disagreements - 1, n, margin)) if disagreements else 1.0


def agreement_upper_bound(disagreements: int, n: int, alpha: float = 0.05) -> float:
    """Computes the Clopper-Pearson upper bound of the share of rows on which the models disagree.

    >>> round(agreement_upper_bound(0, 299), 4)
    0.01
    """
    _check_table(disagreements, 0, n)
    _check_alpha(alpha)
    if disagreements == n:
        return 1.0
    return float(special.betaincinv(disagreements + 1, n - disagreements, 1.0 - alpha))


def nuisance_grid(c: int, n: int, margin: float) -> NDArray[np.float64]:
    """Lays points over the interval for p01, evenly spaced in standard deviations of the table.

    States beyond the ends of the boundary line are dominated by its ends, so clipping is safe.
    """
    least, most = max(0.0, -margin), (1.0 - margin) / 2.0
    tail = NUISANCE_ERROR / 2.0
    low = float(special.betaincinv(c, n - c + 1, tail)) if c > 0 else 0.0
    high = float(special.betaincinv(c + 1, n - c, 1.0 - tail)) if c < n else 1.0
    low, high = min(max(low, least), most), min(max(high, least), most)
    points = [low]
    smallest = 0.3 / n
    while points[-1] < high:
        p01 = points[-1]
        losses, wins = max(p01 + margin, smallest), max(p01, smallest)
        neither = max(1.0 - 2.0 * p01 - margin, smallest)
        length = math.sqrt(n * (1.0 / losses + 1.0 / wins + 4.0 / neither))
        points.append(min(p01 + GRID_STEP / length, high))
    return np.asarray(points, dtype=np.float64)


def _beside_peaks(
    grid: NDArray[np.float64], tail: NDArray[np.float64], most: int
) -> NDArray[np.float64]:
    """Lays 7 more points into each gap beside the highest local maxima, `most` of them."""
    padded = np.concatenate([[-1.0], tail, [-1.0]])
    peaks = np.flatnonzero((tail >= padded[:-2]) & (tail >= padded[2:]))
    peaks = peaks[np.argsort(-tail[peaks], kind="stable")[:most]]
    gaps = np.unique(np.clip(np.concatenate([peaks - 1, peaks]), 0, grid.size - 2))
    inner = np.arange(1, 8) / 8.0
    points = grid[gaps, None] + (grid[gaps + 1] - grid[gaps])[:, None] * inner
    return np.asarray(points.ravel(), dtype=np.float64)


def _bisect(holds: Callable[[float], bool], low: float, high: float, width: float) -> float:
    """Shrinks (low, high], with `holds(high)` true, to `width`; returns the end that holds."""
    while high - low > width:
        middle = (low + high) / 2.0
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _check_table(b: int, c: int, n: int) -> None:
    if b < 0 or c < 0 or n < 0 or b + c > n:
        raise ValueError(f"counts must be from 0 to n together; got b={b}, c={c}, n={n}")


def _check_fraction(margin: float) -> None:
    if not 0.0 < margin < 1.0:
        raise ValueError(f"margin must lie between 0 and 1, exclusive; got {margin}")


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5, exclusive; got {alpha}")
