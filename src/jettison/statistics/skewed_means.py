"""Tests of ratios of sums and of influence values: skew-corrected t at 0.8 of the error rate.

A ratio of sums with a common base (word errors over words) is at least the margin worse exactly
where Z = drop - margin * base has a mean of at least 0, so it needs no delta method. A metric that
is no mean over rows at all (F1, AUC) is one of its influence values, up to an error that vanishes
with n; for the AUC they are DeLong's structural components.

Z is skewed, because a few rows lose much. Plain t is then too hopeful: measured sizes of .07 to .16
at an alpha of .04 for F1 and AUC where the models differ on few rows. Hall's monotone cubic
correction holds .04 to about .045, once there are so many rows that losing a share of them that
matters can't stay unseen (the floor). Johnson's quadratic correction was as good, but isn't
monotone: it calls a drop far above the margin held where the skewness is large.

Sources: P. Hall, "On the removal of skewness by transformation", J. R. Statist. Soc. B 54 (1992),
equation 2.4; E. DeLong, D. DeLong and D. Clarke-Pearson, "Comparing the areas under two or more
correlated receiver operating characteristic curves", Biometrics 44 (1988).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from jettison.statistics.sample_size import IMPOSSIBLE, floor_rows

__all__ = [
    "SHARE",
    "UnitTotals",
    "skew_corrected_bound",
    "skew_corrected_p_value",
    "skewed_floor",
    "skewed_rows_needed",
    "unit_totals",
]

Floats = NDArray[np.float64]

SHARE = 0.8
"""The share of alpha at which these tests run; p-values are divided by it, so that they compare
with alpha itself."""
BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class UnitTotals:
    """Sums over the rows of each unit, shape (u,) each.

    Attributes:
        drops: (weighted) sum of the drops.
        bases: (weighted) sum of the bases; positive.
    """

    drops: Floats
    bases: Floats

    @property
    def estimate(self) -> float:
        """The drop of the metric."""
        return float(self.drops.sum() / self.bases.sum())

    @property
    def effective_units(self) -> float:
        """Units of equal base that would be as informative: (sum B)^2 / sum B^2 (Kish)."""
        return float(self.bases.sum() ** 2 / np.square(self.bases).sum())


def unit_totals(
    drops: Floats, bases: Floats, units: NDArray[np.int64] | None, weights: Floats | None
) -> UnitTotals:
    """Adds up the rows of each unit.

    Args:
        drops: drop of each row, shape (n,).
        bases: base of each row, at least 0, shape (n,).
        units: number of the unit of each row, from 0, shape (n,); `None`: each row is a unit.
        weights: at least 0, shape (n,); `None`: all 1.

    Returns:
        Units with a base above 0, in an order that neither the order of rows nor the names of
        units can change.
    """
    weight = np.ones_like(drops) if weights is None else weights
    unit = np.arange(drops.size) if units is None else units
    order = np.lexsort((drops, bases, weight, unit))
    unit, weight = unit[order], weight[order]
    totals = np.bincount(unit, weights=weight * drops[order])
    sizes = np.bincount(unit, weights=weight * bases[order])
    present = sizes > 0
    totals, sizes = totals[present], sizes[present]
    order = np.lexsort((totals, sizes))
    return UnitTotals(np.asarray(totals[order]), np.asarray(sizes[order]))


def skew_corrected_p_value(sample: UnitTotals, margin: float) -> float:
    """Computes the p-value of "the drop is at least the margin"; small means non-inferior.

    With Z's mean m, standard deviation s and skewness g, r = m / s and a = g / 3, Hall's
    T = sqrt(n) (r + a r^2 + a^2 r^3 / 3 + g / 6n) is compared with Student's t.

    Args:
        sample: at least two units.
        margin: largest drop allowed, in the metric's unit; negated totals and margin test harm.

    >>> same = UnitTotals(np.zeros(500), np.ones(500))
    >>> skew_corrected_p_value(same, 0.01), skew_corrected_p_value(same, -0.01)
    (0.0, 1.0)
    """
    values = sample.drops - margin * sample.bases
    count, mean = values.size, float(values.mean())
    deviation = float(values.std(ddof=1)) if count > 1 else 0.0
    # Where all rows say the same the last bits of the sums must not pass for a spread.
    if deviation <= 1e-12 * max(float(np.abs(values).max(initial=0.0)), 1e-300):
        return 0.0 if mean < 0 else 1.0
    skewness = float((((values - mean) / deviation) ** 3).mean())
    ratio, third = mean / deviation, skewness / 3.0
    corrected = ratio + third * ratio**2 + third**2 * ratio**3 / 3.0 + skewness / (6.0 * count)
    tail = float(stats.t.cdf(math.sqrt(count) * corrected, count - 1))
    return min(tail / SHARE, 1.0)


def skew_corrected_bound(sample: UnitTotals, alpha: float, least: float) -> float:
    """Finds the smallest margin that would be held: a one-sided upper bound of the drop.

    Args:
        sample: at least two units.
        alpha: one-sided error rate.
        least: smallest margin that may be held with so few rows (the floor).
    """
    low = max(sample.estimate, least)
    if low >= least and skew_corrected_p_value(sample, low) <= alpha:
        return low
    residuals = sample.drops - sample.estimate * sample.bases
    spread = float(residuals.std()) / float(sample.bases.mean())
    step = max(spread / math.sqrt(sample.drops.size), 1e-12)
    high = low + step
    while skew_corrected_p_value(sample, high) > alpha and step < 1e12:
        step *= 2.0
        high = low + step
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        if skew_corrected_p_value(sample, middle) <= alpha:
            high = middle
        else:
            low = middle
    return high


def skewed_floor(margin: float, alpha: float, worst: float = 1.0) -> int:
    """Counts the rows of equal base below which a drop that matters may stay unseen.

    Args:
        margin: largest drop allowed, in the metric's unit.
        alpha: one-sided error rate.
        worst: the most that one row can lose, as a multiple of its base.

    >>> skewed_floor(0.01, 0.05), skewed_floor(0.02, 0.05, 2.0), skewed_floor(2.0, 0.05)
    (321, 321, 1)
    """
    return floor_rows(margin / worst, SHARE * alpha) if margin < worst else 1


def skewed_rows_needed(
    margin: float, deviation: float, drop: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Finds the rows for this power by the normal approximation.

    Args:
        margin: largest drop allowed.
        deviation: standard deviation of a row's drop, in the metric's unit.
        drop: true drop to plan for.
        alpha: one-sided error rate.
        power: chance to be held.

    >>> skewed_rows_needed(0.01, 0.1, 0.0)
    673
    """
    if drop >= margin:
        return IMPOSSIBLE
    reach = float(special.ndtri(1.0 - SHARE * alpha) + special.ndtri(power))
    rows = (reach * deviation / (margin - drop)) ** 2
    return math.ceil(rows) if rows < IMPOSSIBLE else IMPOSSIBLE
