"""One figure of every group of a column, with intervals, from sums that one pass over the rows gives.

Sources: E. Wilson, JASA 22 (1927) for a proportion; G. Zou and A. Donner, "Construction of
confidence limits about effect measures: a general approach", Statistics in Medicine 27 (2008)
(MOVER) for a difference of two independent figures; L. Kish, Survey Sampling (1965), section 8.2,
for the effective number of weighted rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What one pass over the rows leaves of each group; each of shape (groups,).

    Attributes:
        n: rows with a weight above 0.
        mass: sum of their weights.
        squares: sum of the squares of their weights.
    """

    n: Floats
    mass: Floats
    squares: Floats

    def less(self, other: Sums) -> Sums:
        """The rows of these that are not among the others."""
        return Sums(self.n - other.n, self.mass - other.mass, self.squares - other.squares)


@dataclass(frozen=True, slots=True, eq=False)
class GroupValues:
    """A rate or a mean of every group.

    Attributes:
        name: `false_positive_rate`, `mean_error`, ...
        value: shape (groups,); NaN where no row counts.
        rows: of the denominator.
        second: mean of the squares, shape (groups,), for a mean; `None` for a proportion.
        unit: `fraction`, or that of the mean.
    """

    name: str
    value: Floats
    rows: Sums
    second: Floats | None = None
    unit: str = "fraction"

    @property
    def effective(self) -> Floats:
        """How many equally weighted rows would be worth as much, shape (groups,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.rows.n > 0, self.rows.mass**2 / self.rows.squares, 0.0)

    def bounds(self, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Two-sided intervals, each of shape (groups,): Wilson's for a proportion, else Student's."""
        if self.second is None:
            return wilson_bounds(self.value, self.effective, confidence)
        n = self.effective
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = np.maximum(self.second - self.value**2, 0.0) / (n - 1.0)
            reach = special.stdtrit(n - 1.0, (1.0 + confidence) / 2.0) * np.sqrt(variance)
        reach = np.where(n > 1.0, reach, np.nan)
        return self.value - reach, self.value + reach

    def whole(self) -> GroupValues:
        """The same figure of all rows together: one group."""
        return self._joined(lambda x: np.array([np.nansum(x)]))

    def rest(self) -> GroupValues:
        """For each group, the same figure of all rows that are not in it."""
        return self._joined(lambda x: np.nansum(x) - np.nan_to_num(x))

    def _joined(self, add: Callable[[Floats], Floats]) -> GroupValues:
        rows = Sums(add(self.rows.n), add(self.rows.mass), add(self.rows.squares))
        value = _share(add(self.value * self.rows.mass), rows)
        second = None if self.second is None else _share(add(self.second * self.rows.mass), rows)
        return GroupValues(self.name, value, rows, second, self.unit)


def wilson_bounds(
    share: Floats, n: Floats, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """The score interval of many proportions at once; `n` may be an effective number of rows.

    Returns:
        Low and high, of the shape given; 0 and 1 where `n` is 0.

    >>> low, high = wilson_bounds(np.array([0.9]), np.array([100.0]))
    >>> round(float(low[0]), 3), round(float(high[0]), 3)
    (0.826, 0.945)
    """
    z = float(special.ndtri((1.0 + confidence) / 2.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = z * z / n
        centre = (share + spread / 2.0) / (1.0 + spread)
        half = np.sqrt(share * (1.0 - share) * spread + spread**2 / 4.0) / (1.0 + spread)
    known = n > 0
    return (
        np.where(known, np.clip(centre - half, 0.0, 1.0), 0.0),
        np.where(known, np.clip(centre + half, 0.0, 1.0), 1.0),
    )


def difference_bounds(
    first: tuple[Floats, Floats, Floats], second: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats]:
    """The interval of first - second from the two figures' own intervals (MOVER).

    Args:
        first, second: value, low and high, of shapes that broadcast; the rows must be different.

    >>> low, high = difference_bounds((0.8, 0.7, 0.9), (0.5, 0.4, 0.6))
    >>> round(float(low), 3), round(float(high), 3)
    (0.159, 0.441)
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    below = np.sqrt((a - a_low) ** 2 + (b_high - b) ** 2)
    above = np.sqrt((a_high - a) ** 2 + (b - b_low) ** 2)
    return a - b - below, a - b + above


def totals(codes: Codes, values: Floats, groups: int) -> Floats:
    """The sum of a value over the rows of each group, shape (groups,)."""
    return np.bincount(codes, values, minlength=groups).astype(np.float64)


def group_sums(codes: Codes, groups: int, weights: Floats | None) -> Sums:
    """Counts the rows of each group."""
    if weights is None:
        n = np.bincount(codes, minlength=groups).astype(np.float64)
        return Sums(n, n, n)
    return Sums(
        totals(codes, (weights > 0).astype(np.float64), groups),
        totals(codes, weights, groups),
        totals(codes, weights * weights, groups),
    )


def group_means(
    name: str, codes: Codes, groups: int, values: Floats, weights: Floats | None, unit: str = ""
) -> GroupValues:
    """The mean of a value in each group.

    Args:
        name: of the figure.
        codes: group of each row, shape (n,), from 0.
        groups: how many there are.
        values: shape (n,), finite.
        weights: shape (n,), or `None` for equal ones.
        unit: of the values.
    """
    rows = group_sums(codes, groups, weights)
    weighted = values if weights is None else values * weights
    first = totals(codes, weighted, groups)
    second = totals(codes, weighted * values, groups)
    return GroupValues(name, _share(first, rows), rows, _share(second, rows), unit)


def _share(total: Floats, rows: Sums) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((rows.n > 0) & (rows.mass > 0), total / rows.mass, np.nan)
