"""Tests that a bounded mean has not worsened by the margin, with rows or units (grade B).

The t-test alone is badly wrong when a few rows in a thousand lose a lot: a sample without one of
them looks fine (measured: size 0.37 at 500 rows). So one more unit that has the worst value that
the metric's declared bounds allow is appended before testing. With it the size stays below alpha
for light-tailed, heavy-tailed, skewed and rare-catastrophe losses from 300 units on, at an alpha of
0.05. At smaller ones (several looks, more confidence) rare total losses still fool it: the exact
size at alpha 0.01 is up to 0.024, at 0.002 up to 0.019 (at 0.05 up to 0.068). There `guarded` asks
an exact binomial test too, which takes the drop seen as so many units that lost everything.

Rows that share a unit (an author, a patient, a document) are added up first, because they are not
independent. The drop that is tested stays the one over rows, sum(w d) / sum(w): a ratio of unit
totals, whose error comes from the unit residuals W_u (m_u - drop) (W. Cochran, "Sampling
Techniques", 3rd edition, section 6.3), where m_u is the unit's mean and W_u its weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "MINIMUM_UNITS",
    "UnitMeans",
    "bounded_mean_test",
    "guarded",
    "needs_guard",
    "unit_means",
]

Floats = NDArray[np.float64]

MINIMUM_UNITS = 300


@dataclass(frozen=True, slots=True)
class UnitMeans:
    """Mean drop of each unit.

    Attributes:
        means: shape (u,), the (weighted) mean drop of the rows of a unit.
        weights: shape (u,), the sum of the weights of its rows; all positive.
    """

    means: Floats
    weights: Floats

    @property
    def estimate(self) -> float:
        """The drop over rows: sum(w d) / sum(w)."""
        return float(np.average(self.means, weights=self.weights))

    @property
    def effective_units(self) -> float:
        """Units of equal weight that would be as informative: (sum W)^2 / sum W^2 (Kish)."""
        return float(self.weights.sum() ** 2 / np.square(self.weights).sum())


@dataclass(frozen=True, slots=True)
class BoundedMeanTest:
    """Outcome of both one-sided tests of one margin.

    Attributes:
        p_value: of "the drop is at least the margin"; small means non-inferior.
        harm_p_value: of "the drop is at most the margin"; small means broken.
        bound: one-sided upper confidence bound of the drop, at the alpha that was asked.
    """

    p_value: float
    harm_p_value: float
    bound: float


def unit_means(drops: Floats, units: NDArray[np.int64] | None, weights: Floats | None) -> UnitMeans:
    """Adds up the rows of each unit.

    Args:
        drops: drop of each row, shape (n,).
        units: number of the unit of each row, from 0, shape (n,); `None`: each row is a unit.
        weights: weight of each row, at least 0, shape (n,); `None`: all 1.

    Returns:
        Units with a weight above 0, ordered by weight and mean, so that the order of rows and the
        names of units can't change a later sum.
    """
    weight = np.ones_like(drops) if weights is None else weights
    unit = np.arange(drops.size) if units is None else units
    order = np.lexsort((drops, weight, unit))
    total = _sum_by(unit[order], (weight * drops)[order])
    weight = _sum_by(unit[order], weight[order])
    present = weight > 0
    means, weight = total[present] / weight[present], weight[present]
    order = np.lexsort((means, weight))
    return UnitMeans(means[order], weight[order])


def bounded_mean_test(
    sample: UnitMeans, margin: float, worst: float, alpha: float = 0.05
) -> BoundedMeanTest:
    """Tests one margin in both directions by t with one worst-case unit appended.

    The appended unit has the drop `worst` (for the harm test `-worst`) and the largest weight seen.

    Args:
        sample: at least one unit; valid from `MINIMUM_UNITS` effective units on.
        margin: largest drop allowed, in the metric's unit.
        worst: the largest drop that the declared bounds allow (high - low).
        alpha: one-sided error rate of `bound`.

    Raises:
        ValueError: if a unit's drop is beyond `worst`, or there is no unit.

    >>> same = UnitMeans(np.zeros(1000), np.ones(1000))
    >>> round(bounded_mean_test(same, 0.01, 1.0).bound, 4)
    0.0026
    """
    if not sample.means.size:
        raise ValueError("a mean needs at least one unit")
    if float(np.abs(sample.means).max()) > worst * (1.0 + 1e-9):
        raise ValueError(f"a drop is larger than the declared bounds allow ({worst})")
    mean, error = _with_extreme_unit(sample, worst)
    best_mean, best_error = _with_extreme_unit(sample, -worst)
    freedom = sample.means.size
    return BoundedMeanTest(
        p_value=float(stats.t.cdf(_ratio(mean - margin, error), freedom)),
        harm_p_value=float(stats.t.sf(_ratio(best_mean - margin, best_error), freedom)),
        bound=min(mean + float(stats.t.ppf(1.0 - alpha, freedom)) * error, worst),
    )


def needs_guard(alpha: float) -> bool:
    """Whether alpha is below 0.05, the one at which the t-test alone was measured."""
    return alpha < 0.05 - 1e-9


def guarded(
    test: BoundedMeanTest, sample: UnitMeans, margin: float, worst: float, alpha: float
) -> BoundedMeanTest:
    """Keeps rare total losses from passing where alpha is below 0.05.

    If units lose nothing or all, the number of lost ones is binomial, and a drop of `margin` means
    a chance of margin / worst. The drop seen counts as so many lost units, rounded up.

    Args:
        test: of the same sample, margin, worst and alpha.
    """
    if not needs_guard(alpha):
        return test
    count = int(sample.effective_units + 1e-9)
    lost = min(math.ceil(max(sample.estimate, 0.0) / worst * count - 1e-9), count)
    exact = float(stats.binom.cdf(lost, count, min(margin / worst, 1.0)))
    most = float(stats.beta.ppf(1.0 - alpha, lost + 1, count - lost)) if lost < count else 1.0
    return BoundedMeanTest(
        max(test.p_value, exact), test.harm_p_value, min(max(test.bound, most * worst), worst)
    )


def _with_extreme_unit(sample: UnitMeans, value: float) -> tuple[float, float]:
    """Computes the mean and its standard error with one more unit of that mean."""
    means = np.append(sample.means, value)
    weights = np.append(sample.weights, sample.weights.max())
    mean = float(np.average(means, weights=weights))
    residuals = weights * (means - mean) / weights.mean()
    count = means.size
    return mean, math.sqrt(float(np.square(residuals).sum()) / (count - 1) / count)


def _ratio(excess: float, error: float) -> float:
    return excess / error if error > 0 else math.copysign(math.inf, excess)


def _sum_by(unit: NDArray[np.int64], values: Floats) -> Floats:
    return np.asarray(np.bincount(unit, weights=values), dtype=np.float64)
