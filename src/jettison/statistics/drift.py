"""Has the distribution of a value moved? From counts in bins, honest about how many rows there are.

PSI = sum (p - q) ln(p / q) over bins (p live, q reference). Without any drift it is not 0: it is
about (1 / n + 1 / m) times a chi-square variable with bins - 1 degrees of freedom, because it
equals the two-sample chi-square statistic to second order (B. Yurdakul, "Statistical properties of
population stability index", Western Michigan University 2018, section 3). So the expected PSI is
taken off the score that is shown, and the same law gives a p-value. The usual rules of thumb (0.1,
0.25) are about the score, and only once there are rows enough for it to mean something.

The Kolmogorov-Smirnov distance is the largest gap of the two distribution functions, taken at the
edges of the bins, which are all that a sketch keeps; so it is at most the true one, and its
asymptotic p-value is on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "MODERATE",
    "PSI_BINS",
    "Drift",
    "bin_counts",
    "compare",
    "equal_mass_edges",
]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

PSI_BINS = 10
"""Neighbouring bins are joined to about this many for PSI, as its rules of thumb assume."""

MODERATE = 0.1
"""Score above which a shift is large enough to matter; 0.25 is a large one."""

LEVEL = 1e-3
"""Chance, by the p-value, of calling a shift where there is none, for one feature and window."""

MINIMUM = 100
"""Live rows below which nothing is said."""

_SMOOTHING = 0.5
"""Added to each bin, so that an empty bin does not give an infinite score."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far live values are from the reference.

    Attributes:
        n: live values; reference: values behind the sketch.
        psi: as counted.
        expected: of `psi` without any drift, at these numbers of values.
        score: psi - expected, not below 0.
        p_value: of "no drift", by PSI.
        ks: Kolmogorov-Smirnov distance; `None` for categories, which have no order.
        ks_p_value: of "no drift", by KS.
        limit: of the score: at least `MODERATE`, and more where so few rows could give more by
            accident with a chance of `LEVEL` / tests.
    """

    n: int
    reference: int
    psi: float
    expected: float
    score: float
    p_value: float
    ks: float | None
    ks_p_value: float | None
    limit: float

    @property
    def drifted(self) -> bool:
        """Whether the score is beyond its limit."""
        return self.score > self.limit


def equal_mass_edges(values: ArrayLike, bins: int) -> Floats:
    """Finds inner edges of bins that hold about equally many values.

    Edges are rounded to a thousandth of the middle 90 % of the values (a power of ten below it),
    so that they tell of no single value. Repeated values give fewer edges.

    Args:
        values: finite, shape (n,), at least one.
        bins: at most.

    Returns:
        Ascending edges without repeats; a value belongs to the bin that its right edge closes.

    >>> equal_mass_edges(range(1, 101), 4).tolist()
    [25.75, 50.5, 75.25]
    """
    given = np.asarray(values, np.float64)
    levels = np.arange(1, bins) / bins
    edges = np.quantile(given, levels)
    spread = float(np.quantile(given, 0.95) - np.quantile(given, 0.05))
    if spread > 0:
        decimals = -math.floor(math.log10(spread / 1000.0))
        edges = np.round(edges, decimals)
    edges = np.unique(edges)
    # Nothing lies above an edge at the largest value, or below one under the smallest.
    kept: Floats = edges[(edges < given.max()) & (edges >= given.min())]
    return kept


def bin_counts(values: ArrayLike, edges: ArrayLike) -> Counts:
    """Counts values in each bin, and in one more those that are no finite number.

    Returns:
        Shape (len(edges) + 2,): the bins in order, then what is not finite.
    """
    given = np.asarray(values, np.float64)
    finite = np.isfinite(given)
    inner = np.asarray(edges, np.float64)
    places = np.where(finite, np.searchsorted(inner, given, side="left"), inner.size + 1)
    return np.bincount(places, minlength=inner.size + 2).astype(np.int64)


def compare(
    reference: Sequence[int], live: Sequence[int], *, ordered: bool, tests: int = 1
) -> Drift | None:
    """Compares live counts with those of a sketch.

    Args:
        reference: counts of each bin (or category); the last one is of what fits in none.
        live: counts in the same bins.
        ordered: whether bins have an order (numbers) or not (categories).
        tests: features that are looked at together; the level is divided by it.

    Returns:
        `None` where either side has too few values to say anything (live: `MINIMUM`).

    >>> same = compare([250, 250, 250, 250, 0], [510, 490, 505, 495, 0], ordered=True)
    >>> same.drifted, same.score
    (False, 0.0)
    >>> compare([250, 250, 250, 250, 0], [50, 150, 300, 500, 0], ordered=True).drifted
    True
    """
    before, after = np.asarray(reference, np.int64), np.asarray(live, np.int64)
    if before.shape != after.shape:
        raise ValueError(f"counts have shapes {before.shape} and {after.shape}")
    n, m = int(before.sum()), int(after.sum())
    if m < MINIMUM or n < 1:
        return None
    ks = _ks(before, after) if ordered else None
    joined = _joined(before, after) if ordered else np.stack([before, after])
    joined = joined[:, joined.sum(axis=0) > 0]
    bins = joined.shape[1]
    psi = _psi(joined)
    scale = 1.0 / n + 1.0 / m
    expected = (bins - 1) * scale
    p_value = float(special.chdtrc(bins - 1, max(0.0, psi / scale))) if bins > 1 else 1.0
    ks_p_value = None if ks is None else float(special.kolmogorov(ks / math.sqrt(scale)))
    score = max(0.0, psi - expected)
    accident = float(special.chdtri(max(1, bins - 1), LEVEL / max(1, tests))) * scale - expected
    return Drift(
        n=m,
        reference=n,
        psi=psi,
        expected=expected,
        score=score,
        p_value=p_value,
        ks=ks,
        ks_p_value=ks_p_value,
        limit=max(MODERATE, accident),
    )


def _psi(counts: Counts) -> float:
    smooth = counts + _SMOOTHING
    shares = smooth / smooth.sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def _ks(before: Counts, after: Counts) -> float:
    """The largest gap at the edges; values that are no numbers count as the largest."""
    first, second = np.cumsum(before) / before.sum(), np.cumsum(after) / after.sum()
    return float(np.abs(first - second).max())


def _joined(before: Counts, after: Counts) -> Counts:
    """Joins neighbouring bins to at most `PSI_BINS`; what fits in none stays apart."""
    inner = before.size - 1
    step = math.ceil(inner / PSI_BINS)
    starts = np.append(np.arange(0, inner, step), inner)
    return np.stack([np.add.reduceat(counts, starts) for counts in (before, after)])
