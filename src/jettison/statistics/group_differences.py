"""How far apart groups are: the largest difference, the smallest ratio, and the three verdicts.

Intervals hold for the extreme pair although the data picked it. The largest difference over pairs
is at least every pair's, so its lower end is the largest of the pairs' lower ends, each at a level
divided by the number of pairs; its upper end needs no division, for the truly largest pair alone
must be covered. The smallest ratio is the mirror image.

Sources: A. Donner and G. Zou, "Closed-form confidence intervals for functions of the normal mean
and standard deviation", Statistical Methods in Medical Research 21 (2012) (the ratio, MOVER-R);
Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D (the four-fifths rule).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jettison.statistics.group_values import (
    CONFIDENCE,
    Codes,
    Floats,
    GroupValues,
    difference_bounds,
    wilson_bounds,
)

RatioVerdict = Literal["below", "not below", "undecided"]

FOUR_FIFTHS = 0.8
SMALLEST = 20
"""Rows below which a group is listed, but not compared: it would leave every verdict open."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference of a figure between groups.

    Attributes:
        name: of the figure.
        value, low, high: with its interval; NaN where fewer than two groups can be compared.
        highest, lowest: numbers of the two groups; -1 where there are none.
        n: rows of the two groups.
    """

    name: str
    value: float
    low: float
    high: float
    highest: int = -1
    lowest: int = -1
    n: int = 0


@dataclass(frozen=True, slots=True)
class Ratio:
    """The smallest ratio of a rate between groups, and whether it lies below a threshold."""

    value: float
    low: float
    high: float
    lowest: int
    highest: int
    n: int
    threshold: float
    verdict: RatioVerdict


def comparable(values: GroupValues, smallest: int = SMALLEST) -> Codes:
    """Numbers of the groups with enough rows and a value."""
    found: Codes = np.flatnonzero((values.rows.n >= smallest) & np.isfinite(values.value))
    return found


def largest_difference(
    values: GroupValues, smallest: int = SMALLEST, confidence: float = CONFIDENCE
) -> Difference:
    """The difference between the groups with the highest and the lowest value.

    Args:
        values: of every group.
        smallest: rows (of the denominator) below which a group is left out.
        confidence: of the interval, which is valid for the picked pair.
    """
    some = comparable(values, smallest)
    if len(some) < 2:
        return Difference(values.name, np.nan, np.nan, np.nan)
    value = values.value[some]
    highest, lowest = some[int(np.argmax(value))], some[int(np.argmin(value))]
    tail, pairs = 1.0 - confidence, len(some) * (len(some) - 1)
    _, high = _pairwise(values, some, confidence)
    low, _ = _pairwise(values, some, 1.0 - tail / pairs)
    return Difference(
        values.name,
        float(value.max() - value.min()),
        max(0.0, float(np.nanmax(low))) if np.isfinite(low).any() else np.nan,
        float(np.nanmax(high)) if np.isfinite(high).any() else np.nan,
        int(highest),
        int(lowest),
        int(values.rows.n[highest] + values.rows.n[lowest]),
    )


def surest_difference(
    values: GroupValues, smallest: int = SMALLEST, confidence: float = CONFIDENCE
) -> Difference:
    """The pair of groups whose difference is largest beyond chance: few rows don't win here.

    Args:
        values: of every group.
        smallest: rows below which a group is left out.
        confidence: of the interval, over all pairs together.
    """
    some = comparable(values, smallest)
    if len(some) < 2:
        return Difference(values.name, np.nan, np.nan, np.nan)
    pairs = len(some) * (len(some) - 1)
    low, high = _pairwise(values, some, 1.0 - (1.0 - confidence) / pairs)
    if not np.isfinite(low).any():
        return largest_difference(values, smallest, confidence)
    first, second = np.unravel_index(int(np.nanargmax(low)), low.shape)
    top, bottom = int(some[first]), int(some[second])
    return Difference(
        values.name,
        float(values.value[top] - values.value[bottom]),
        float(low[first, second]),
        float(high[first, second]),
        top,
        bottom,
        int(values.rows.n[top] + values.rows.n[bottom]),
    )


def worse_of(name: str, first: Difference, second: Difference) -> Difference:
    """The larger of two differences (equalised odds: of true and of false positive rates).

    The lower end stays valid within twice the error: each difference stands at its own level.
    """
    known = [one for one in (first, second) if np.isfinite(one.value)]
    if not known:
        return Difference(name, np.nan, np.nan, np.nan)
    worst = max(known, key=lambda one: one.value)
    return Difference(
        name,
        worst.value,
        max(one.low for one in known),
        max(one.high for one in known),
        worst.highest,
        worst.lowest,
        worst.n,
    )


def smallest_ratio(
    values: GroupValues,
    threshold: float = FOUR_FIFTHS,
    smallest: int = SMALLEST,
    confidence: float = CONFIDENCE,
) -> Ratio | None:
    """The lowest rate over the highest, with a verdict that the interval supports.

    `below` where the whole interval lies below the threshold, `not below` where none of it does,
    otherwise `undecided`: a ratio of 0.79 in a hundred rows is no finding, and 0.81 no acquittal.

    Returns:
        `None` where fewer than two groups can be compared, or nobody is selected in any.

    Raises:
        ValueError: if the threshold is not above 0 and at most 1.
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"the threshold of a ratio must be above 0 and at most 1; got {threshold}")
    some = comparable(values, smallest)
    if len(some) < 2 or not values.value[some].max() > 0.0:
        return None
    value = values.value[some]
    lowest, highest = some[int(np.argmin(value))], some[int(np.argmax(value))]
    pairs = len(some) * (len(some) - 1)
    low, _ = _ratios(values, some, confidence)
    _, high = _ratios(values, some, 1.0 - (1.0 - confidence) / pairs)
    bottom, top = float(np.nanmin(low)), min(1.0, float(np.nanmin(high)))
    verdict: RatioVerdict = "undecided"
    if top < threshold:
        verdict = "below"
    elif bottom >= threshold:
        verdict = "not below"
    return Ratio(
        float(value.min() / value.max()),
        bottom,
        top,
        int(lowest),
        int(highest),
        int(values.rows.n[lowest] + values.rows.n[highest]),
        threshold,
        verdict,
    )


def ratio_bounds(
    first: tuple[Floats, Floats, Floats], second: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats]:
    """The interval of first / second of two independent rates from their own intervals (MOVER-R).

    Args:
        first, second: value, low and high, from 0 to 1, of shapes that broadcast.

    >>> low, high = ratio_bounds((0.4, 0.3, 0.5), (0.5, 0.4, 0.6))
    >>> round(float(low), 3), round(float(high), 3)
    (0.571, 1.104)
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    cross = np.asarray(a * b)
    with np.errstate(invalid="ignore", divide="ignore"):
        lower = a_low * (2 * a - a_low)
        inner = cross**2 - lower * b_high * (2 * b - b_high)
        # The root in the form that stays exact where twice the second rate meets its upper end.
        low = lower / (cross + np.sqrt(np.maximum(inner, 0.0)))
        upper = b_low * (2 * b - b_low)
        inner = cross**2 - a_high * (2 * a - a_high) * upper
        high = (cross + np.sqrt(np.maximum(inner, 0.0))) / upper
    return np.where(np.isfinite(low), low, 0.0), np.where(np.asarray(b_low) > 0, high, np.inf)


def _pairwise(values: GroupValues, some: Codes, confidence: float) -> tuple[Floats, Floats]:
    """Intervals of all differences, shape (g, g); a group minus itself is left out as NaN."""
    value = values.value[some]
    low, high = (end[some] for end in values.bounds(confidence))
    pair = difference_bounds(
        (value[:, None], low[:, None], high[:, None]), (value[None], low[None], high[None])
    )
    return _off_diagonal(pair[0]), _off_diagonal(pair[1])


def _ratios(values: GroupValues, some: Codes, confidence: float) -> tuple[Floats, Floats]:
    value = values.value[some]
    low, high = wilson_bounds(value, values.effective[some], confidence)
    pair = ratio_bounds(
        (value[:, None], low[:, None], high[:, None]), (value[None], low[None], high[None])
    )
    return _off_diagonal(pair[0]), _off_diagonal(pair[1])


def _off_diagonal(table: Floats) -> Floats:
    np.fill_diagonal(table, np.nan)
    return table
