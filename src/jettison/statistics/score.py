"""Tango's score statistic for the difference of two paired proportions, and its exact tail.

Rows fall in three cells: b (baseline right, candidate wrong), c (the reverse) and neither.
With probabilities p10, p01 and the rest, the drop is p10 - p01 and the disagreement p10 + p01.

Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions
for the paired-sample design", Statistics in Medicine 17 (1998), equations 5 to 7.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["ScoreTail", "largest_losses", "tango_statistic"]

Floats = NDArray[np.float64]

# Two tables with the same score must compare as equal whatever the rounding of each.
TIE_TOLERANCE = 1e-9
# Cells further than this many standard deviations from their mean are left out of a sum; the
# mass that is lost (below 2e-7) is added to the result, so that it errs on the safe side.
WINDOW_SDS = 5.3
LOST_MASS = 2e-7


def tango_statistic(b: ArrayLike, c: ArrayLike, n: int, margin: float) -> Floats:
    """Computes the score statistic of "the drop equals the margin", for arrays of tables.

    The closed form: A = 2n, B = -b - c + (2n - b + c) margin, C = -c margin (1 - margin),
    q = (sqrt(B^2 - 4AC) - B) / 2A is p01 under the restriction, and
    T = (b - c - n margin) / sqrt(n (2q + margin (1 - margin))).

    Args:
        b: rows that only the baseline got right, any shape.
        c: rows that only the candidate got right, same shape.
        n: all rows.
        margin: from -1 to 1; the drop under test.

    Returns:
        T, shape of `b`: negative where the drop seen is below the margin. It grows with `b`
        and falls with `c`. 0 or infinite where the variance is 0.

    >>> float(tango_statistic(0, 0, 299, 0.01).round(4))
    -1.7379
    """
    losses, wins = np.asarray(b, dtype=np.float64), np.asarray(c, dtype=np.float64)
    excess = losses - wins - n * margin
    variance = _restricted_variance(losses, wins, n, margin)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = excess / np.sqrt(variance)
    flat = np.where(np.abs(excess) < TIE_TOLERANCE, 0.0, np.copysign(np.inf, excess))
    return np.asarray(np.where(variance > 1e-12 * n, ratio, flat), dtype=np.float64)


def _restricted_variance(losses: Floats, wins: Floats, n: int, margin: float) -> Floats:
    """Computes the variance of b - c under the restriction, n (2q + margin (1 - margin))."""
    linear = -losses - wins + (2.0 * n - losses + wins) * margin
    constant = -wins * margin * (1.0 - margin)
    root = np.sqrt(np.maximum(linear * linear - 8.0 * n * constant, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Two forms of one root: each is exact where the other would cancel.
        q = np.where(linear > 0, -2.0 * constant / (linear + root), (root - linear) / (4.0 * n))
    return np.asarray(np.maximum(n * (2.0 * q + margin * (1.0 - margin)), 0.0), dtype=np.float64)


def largest_losses(wins: NDArray[np.int64], z: float, n: int, margin: float) -> NDArray[np.int64]:
    """Finds, for each c, the largest b whose score is at most `z` (ties count).

    Args:
        wins: values of c, shape (k,).
        z: the score.
        n: all rows.
        margin: the drop under test.

    Returns:
        b, shape (k,); -1 where even b = 0 has a larger score.
    """
    limit = z + TIE_TOLERANCE * (1.0 + abs(z))
    low, high = np.full(wins.shape, -1, dtype=np.int64), n - wins
    # T = z solved for b by fixed-point steps lands next to the answer; the search needs a bracket.
    counts = wins.astype(np.float64)
    guess = np.clip(counts + n * margin, 0.0, high)
    for _ in range(3):
        width = np.sqrt(_restricted_variance(guess, counts, n, margin))
        guess = np.clip(counts + n * margin + z * width, 0.0, high)
    for edge in (np.floor(guess) - 2, np.floor(guess) + 2):
        b = np.clip(edge, 0, n - wins).astype(np.int64)
        fits = tango_statistic(b, wins, n, margin) <= limit
        low = np.where(fits, np.maximum(low, b), low)
        high = np.where(fits, high, np.minimum(high, b - 1))
    while bool((low < high).any()):
        middle = (low + high + 1) // 2
        fits = (tango_statistic(np.maximum(middle, 0), wins, n, margin) <= limit) | (middle < 0)
        low = np.where(fits, middle, low)
        high = np.maximum(np.where(fits, high, middle - 1), low)
    return low


class ScoreTail:
    """P(T <= z) under several true states, by exact sums over the trinomial.

    c is binomial(n, p01); given c, b is binomial(n - c, p10 / (1 - p01)). The largest b whose
    score is at most z is the same for each state, so it is found once and kept.
    """

    __slots__ = ("_first", "_limits", "margin", "n", "z")

    def __init__(self, z: float, n: int, margin: float) -> None:
        self.z, self.n, self.margin = z, n, margin
        self._first = 0
        self._limits = np.empty(0, dtype=np.int64)

    def probability(self, p10: Floats, p01: Floats) -> Floats:
        """Computes the probability for each state.

        Args:
            p10: probability of b, shape (k,).
            p01: probability of c, shape (k,).

        Returns:
            Probabilities, shape (k,), at most 4e-7 too large and never too small.
        """
        n, p10, p01 = self.n, np.atleast_1d(p10)[:, None], np.atleast_1d(p01)[:, None]
        reach = WINDOW_SDS * np.sqrt(n * p01 * (1.0 - p01)) + 9.0
        first = np.floor(np.maximum(n * p01 - reach, 0.0)).astype(np.int64)
        last = np.ceil(np.minimum(n * p01 + reach, n)).astype(np.int64)
        self._cover(int(first.min()), int(last.max()))
        wins = first + np.arange(int((last - first).max()) + 1, dtype=np.int64)[None, :]
        inside = wins <= last
        wins = np.minimum(wins, last)
        limit = self._limits[wins - self._first]
        weight = np.exp(
            special.gammaln(n + 1.0)
            - special.gammaln(wins + 1.0)
            - special.gammaln(n - wins + 1.0)
            + special.xlogy(wins, p01)
            + special.xlog1py(n - wins, -p01)
        )
        chance = np.clip(p10 / (1.0 - p01), 0.0, 1.0)
        below = np.where(limit >= 0, special.bdtr(np.maximum(limit, 0), n - wins, chance), 0.0)
        total = np.where(inside, weight * below, 0.0).sum(axis=1) + LOST_MASS
        return np.asarray(np.minimum(total, 1.0), dtype=np.float64)

    def _cover(self, first: int, last: int) -> None:
        stop = self._first + self._limits.size - 1
        if self._limits.size and self._first <= first and last <= stop:
            return
        if self._limits.size:
            first, last = min(first, self._first), max(last, stop)
        wins = np.arange(first, last + 1, dtype=np.int64)
        self._first = first
        self._limits = largest_losses(wins, self.z, self.n, self.margin)
