"""Calibrators that weigh what clipping loses against what a coarser step loses.

Both read the finished `Histogram` of a tensor, so that they cost no pass over the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Array
from jettison.numerics.calibration import Histogram

LEVELS = 255
"""Steps between the lowest and the highest of 256 values."""

CANDIDATES = 96
"""Thresholds that are tried at each end, evenly spaced over what was seen."""

FEWEST = 128
"""Bins of the narrowest range that entropy looks at: below it there are no 256 levels to fill."""


@dataclass(frozen=True, slots=True)
class MeanSquare:
    """The range with the least expected squared error.

    Error = what clipping cuts off, squared, plus step^2 / 12 for each value inside. Exact zeros
    are represented exactly (the zero point is a whole number), so they cost nothing.
    """

    def range(self, seen: Histogram) -> tuple[float, float]:
        """Gives the lowest and the highest value to represent."""
        if seen.highest <= seen.lowest:
            return seen.lowest, seen.highest
        centres, counts = _filled(seen)
        lows = _thresholds(min(seen.lowest, 0.0))
        highs = _thresholds(max(seen.highest, 0.0))
        above = _cut_off(centres, counts, highs)
        below = _cut_off(-centres, counts, -lows)
        rounded = float(counts[np.abs(centres) > seen.width].sum())
        steps = (highs[None, :] - lows[:, None]) / LEVELS
        errors = above[None, :] + below[:, None] + rounded * steps**2 / 12.0
        low, high = np.unravel_index(int(np.argmin(errors)), errors.shape)
        return max(float(lows[low]), seen.lowest), min(float(highs[high]), seen.highest)


@dataclass(frozen=True, slots=True)
class Entropy:
    """The range whose 256 levels tell most about the values: the least Kullback-Leibler divergence.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017: the clipped distribution, with
    what was cut off added to its ends, is compared with itself averaged over each level.
    Unsafe where rare large values matter (transformers): the divergence counts how often a value
    comes, not how large it is.
    """

    def range(self, seen: Histogram) -> tuple[float, float]:
        """Gives the lowest and the highest value to represent."""
        if seen.highest <= seen.lowest:
            return seen.lowest, seen.highest
        largest = max(abs(seen.lowest), abs(seen.highest))
        narrowest = min(largest, FEWEST * seen.width)
        centres, counts = _filled(seen)
        best = (np.inf, seen.lowest, seen.highest)
        # The widest first: a narrower range must be better, not as good.
        for limit in np.linspace(largest, narrowest, CANDIDATES):
            low, high = max(seen.lowest, -float(limit)), min(seen.highest, float(limit))
            if low < high:
                loss = _divergence(centres, counts, low, high)
                best = min(best, (loss, low, high), key=lambda found: found[0])
        return best[1], best[2]


def _filled(seen: Histogram) -> tuple[Array, Array]:
    """Centres and counts of the bins that hold something, shape (bins,)."""
    places = np.flatnonzero(seen.counts)
    centres = np.clip((seen.first + places + 0.5) * seen.width, seen.lowest, seen.highest)
    return centres, seen.counts[places].astype(np.float64)


def _thresholds(end: float) -> Array:
    """Candidates from the end that was seen towards zero, shape (n,)."""
    return end * np.linspace(1.0, 1.0 / CANDIDATES, CANDIDATES) if end else np.zeros(1)


def _cut_off(centres: Array, counts: Array, thresholds: Array) -> Array:
    """Summed squares of what lies above each threshold, shape (n,)."""
    beyond = np.maximum(centres[None, :] - thresholds[:, None], 0.0)
    squares: Array = (beyond**2) @ counts
    return squares


def _divergence(centres: Array, counts: Array, low: float, high: float) -> float:
    inside = (centres >= low) & (centres <= high)
    if not inside.any():
        return float("inf")
    kept = counts[inside]
    clipped = kept.copy()
    clipped[0] += counts[centres < low].sum()
    clipped[-1] += counts[centres > high].sum()
    step = (max(high, 0.0) - min(low, 0.0)) / LEVELS
    levels = np.rint(centres[inside] / step).astype(np.int64)
    levels -= levels.min()
    sums, bins = np.bincount(levels, kept), np.bincount(levels)
    spread = (sums / np.maximum(bins, 1))[levels]
    p, q = clipped / clipped.sum(), spread / spread.sum()
    return float(np.sum(p * np.log(p / q)))
