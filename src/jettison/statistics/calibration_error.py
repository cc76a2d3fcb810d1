"""Do scores mean what they say? Reliability in equal-mass bins, and a debiased calibration error.

Source: A. Kumar, P. Liang and T. Ma, "Verified Uncertainty Calibration", NeurIPS 2019: the plug-in
estimate of the squared calibration error is too large by the variance of each bin's share of
positives, which is subtracted (section 5, the debiased estimator). The usual plug-in ECE calls a
perfect model of a small group badly calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from jettison.statistics.group_values import (
    CONFIDENCE,
    Codes,
    Floats,
    group_sums,
    totals,
    wilson_bounds,
)

BINS = 15
ROWS_PER_BIN = 20
"""A bin of fewer rows says next to nothing; small groups get fewer bins, down to one."""


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Bins of equal mass within each group; all arrays have one entry a bin that holds rows.

    Attributes:
        group: number of the group.
        score: mean score of the bin.
        share: share of positives, with its interval `low` to `high`.
        n: rows.
        effective: equally weighted rows that it is worth.
        mass: its part of the group's weight; the parts of a group add up to 1.
    """

    group: Codes
    score: Floats
    share: Floats
    low: Floats
    high: Floats
    n: Floats
    effective: Floats
    mass: Floats


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationErrors:
    """The root-mean-square gap between score and share, per group, as fractions.

    Attributes:
        value: debiased, 0 where the bias is larger than the gap; NaN for a group without bins.
        low, high: interval.
        plug_in: the usual estimate, which noise makes too large.
        n: rows.
        bins: of the group.
    """

    value: Floats
    low: Floats
    high: Floats
    plug_in: Floats
    n: Floats
    bins: Floats


def reliability(
    codes: Codes,
    groups: int,
    scores: Floats,
    positives: Floats,
    weights: Floats | None = None,
    bins: int = BINS,
) -> Reliability:
    """Cuts each group into bins of about equal numbers of rows, by score; equal scores stay together.

    Args:
        codes: group of each row, shape (n,).
        groups: how many there are.
        scores: probability given to the event, shape (n,).
        positives: 1 where it happened, else 0, shape (n,).
        weights: shape (n,), or `None`.
        bins: at most so many in a group; fewer where it has under `ROWS_PER_BIN` rows for each.

    Raises:
        ValueError: if a score lies outside 0 to 1.
    """
    if len(scores) and not (np.nanmin(scores) >= 0.0 and np.nanmax(scores) <= 1.0):
        raise ValueError("scores must be probabilities from 0 to 1")
    cells = codes * bins + _bin_of(codes, groups, scores, bins)
    rows = group_sums(cells, groups * bins, weights)
    w = np.ones(len(scores)) if weights is None else weights
    some = np.flatnonzero(rows.n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mass = rows.mass[some]
        score = totals(cells, w * scores, groups * bins)[some] / mass
        share = totals(cells, w * positives, groups * bins)[some] / mass
        effective = mass**2 / rows.squares[some]
    group = some // bins
    whole = totals(group, mass, groups)
    low, high = wilson_bounds(share, effective)
    return Reliability(
        group, score, np.clip(share, 0, 1), low, high, rows.n[some], effective, mass / whole[group]
    )


def _bin_of(codes: Codes, groups: int, scores: Floats, bins: int) -> Codes:
    """The bin of each row within its group, by the rank of the first of equal scores."""
    order = np.lexsort((scores, codes))
    c, s = codes[order], scores[order]
    sizes = np.bincount(codes, minlength=groups)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    new = np.ones(len(c), dtype=bool)
    new[1:] = (c[1:] != c[:-1]) | (s[1:] != s[:-1])
    first = np.maximum.accumulate(np.where(new, np.arange(len(c)), 0)) - starts[c]
    wanted = np.clip(sizes // ROWS_PER_BIN, 1, bins)
    found = np.empty(len(c), dtype=np.int64)
    found[order] = first * wanted[c] // np.maximum(sizes[c], 1)
    return found


def calibration_errors(
    bins: Reliability, groups: int, confidence: float = CONFIDENCE
) -> CalibrationErrors:
    """The debiased calibration error of each group.

    With gap d, share y and m rows in a bin, d^2 is too large by v = y (1 - y) / (m - 1) on average.
    The interval is normal for the squared error, with variance 4 d^2 v + 2 v^2 a bin (d is about
    normal with variance v), and its ends are brought to the root; a bin of one row counts with the
    largest variance there is, 1/4.

    Args:
        bins: of `reliability`.
        groups: how many there are.
        confidence: of the interval.
    """
    gap = bins.score - bins.share
    m = bins.effective
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.where(m > 1.0, bins.share * (1.0 - bins.share) / (m - 1.0), 0.25)
    squared = gap**2 - noise
    total = totals(bins.group, bins.mass * squared, groups)
    plug_in = totals(bins.group, bins.mass * gap**2, groups)
    spread = bins.mass**2 * (4.0 * np.maximum(squared, 0.0) * noise + 2.0 * noise**2)
    z = float(special.ndtri((1.0 + confidence) / 2.0))
    half = z * np.sqrt(totals(bins.group, spread, groups))
    count = np.bincount(bins.group, minlength=groups).astype(np.float64)
    known = count > 0
    ends = (np.sqrt(np.maximum(x, 0.0)) for x in (total, total - half, total + half, plug_in))
    value, low, high, plain = (np.where(known, end, np.nan) for end in ends)
    n = totals(bins.group, bins.n, groups)
    return CalibrationErrors(value, low, high, plain, n, count)
