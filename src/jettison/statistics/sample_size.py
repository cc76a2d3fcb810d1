"""How many rows a certification needs, and how likely a candidate is to pass.

Power is computed exactly (a trinomial sum), because the usual shortcut
n = (z_alpha + z_beta)^2 (d - drop^2) / (margin - drop)^2 is up to 40 % too low at a margin of 1 %,
and far too low when the models hardly ever disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from jettison.statistics.non_inferiority import (
    NUISANCE_ERROR,
    agreement_p_value,
    nuisance_grid,
    paired_binary_p_value,
)
from jettison.statistics.score import LOST_MASS, ScoreTail, largest_losses

__all__ = [
    "IMPOSSIBLE",
    "LEAST_P_VALUE",
    "agreement_rows_needed",
    "floor_rows",
    "mean_rows_needed",
    "paired_binary_power",
    "pass_probability",
    "rows_needed",
]

# Returned where no practical number of rows suffices (the drop is at, or too near, the margin).
IMPOSSIBLE = 10**9
MOST_ROWS = 20_000_000
# From here on the normal approximation is within 1 % of the exact answer, and quicker.
LARGE = 30_000
# With fewer expected wins, one critical score for all tables is up to .04 of power too hopeful.
FEW_WINS = 8.0
# No p-value of the paired 0/1 test is smaller, so below it no number of rows is held.
LEAST_P_VALUE = NUISANCE_ERROR + LOST_MASS


def floor_rows(margin: float, alpha: float = 0.05) -> int:
    """Counts the rows below which no 0/1 metric is certified, even with no disagreement at all.

    It is the smallest n with (1 - margin)^n <= alpha: with fewer rows, a candidate that is worse
    than allowed shows no lost row too often.

    Args:
        margin: largest drop allowed, between 0 and 1.
        alpha: one-sided error rate.

    >>> [floor_rows(m) for m in (0.01, 0.02, 0.03, 0.05)]
    [299, 149, 99, 59]
    """
    if not 0.0 < margin < 1.0:
        raise ValueError(f"margin must lie between 0 and 1, exclusive; got {margin}")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, exclusive; got {alpha}")
    # The small term forgives rounding where the quotient is a whole number.
    return max(1, math.ceil(math.log(alpha) / math.log1p(-margin) - 1e-9))


@lru_cache(maxsize=1 << 12)
def paired_binary_power(
    drop: float, disagreement: float, n: int, margin: float, alpha: float = 0.05
) -> float:
    """Computes the chance that n rows certify a candidate with this true drop, exactly.

    Args:
        drop: true drop, as a fraction of rows.
        disagreement: true share of rows on which exactly one model is right; raised to |drop|.
        n: rows.
        margin: largest drop allowed.
        alpha: one-sided error rate.

    >>> round(paired_binary_power(0.0, 0.03, 2000, 0.01), 2)
    0.81
    """
    if n < floor_rows(margin, alpha) or alpha < LEAST_P_VALUE:
        return 0.0
    losses, wins = _cells(drop, disagreement)
    critical = _critical_score(n, margin, alpha, round(n * wins))
    if n * wins < FEW_WINS:
        return _power_of_tables(critical, n, margin, losses, wins, alpha)
    return _power_at(critical, n, margin, losses, wins)


@lru_cache(maxsize=1 << 12)
def rows_needed(
    margin: float, disagreement: float, drop: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Finds the rows that the paired 0/1 test needs for this power.

    Args:
        margin: largest drop allowed.
        disagreement: expected share of rows on which exactly one model is right.
        drop: true drop to plan for.
        alpha: one-sided error rate.
        power: chance to be certified.

    Returns:
        Rows, at least the floor; `IMPOSSIBLE` where the drop leaves no room below the margin.

    >>> rows_needed(0.02, 0.03, 0.0) in range(500, 560)
    True
    """
    floor = floor_rows(margin, alpha)
    losses, wins = _cells(drop, disagreement)
    room = margin - drop
    if room <= 0 or alpha < LEAST_P_VALUE:
        return IMPOSSIBLE
    reach = float(special.ndtri(1 - alpha) + special.ndtri(power))
    shortcut = reach**2 * (losses + wins - drop**2) / room**2
    if shortcut > MOST_ROWS:
        return IMPOSSIBLE
    if shortcut > LARGE:
        return _first(
            lambda k: float(pass_probability(drop, losses + wins, k, margin, alpha)) >= power,
            floor,
            int(0.9 * shortcut),
        )

    def search(critical: float, start: int) -> int:
        return _first(lambda k: _power_at(critical, k, margin, losses, wins) >= power, floor, start)

    # The critical score depends (weakly) on n: search, calibrate there, and search again.
    n = search(float(special.ndtri(alpha)), int(0.85 * shortcut))
    for _ in range(2):
        n = search(_critical_score(n, margin, alpha, round(n * wins)), int(0.97 * n))
    if n * wins < FEW_WINS:
        while paired_binary_power(drop, disagreement, n, margin, alpha) < power:
            n += max(1, n // 60)
    return n


@lru_cache(maxsize=1 << 12)
def agreement_rows_needed(
    margin: float, disagreement: float, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Finds the rows that certify, without labels, that the models disagree on less than `margin`.

    Args:
        margin: largest share of disagreement allowed.
        disagreement: true share to plan for.
        alpha: one-sided error rate.
        power: chance to be certified.

    >>> agreement_rows_needed(0.01, 0.0), agreement_rows_needed(0.01, 0.01) == IMPOSSIBLE
    (299, True)
    """
    floor = floor_rows(margin, alpha)
    if disagreement >= margin:
        return IMPOSSIBLE

    def passes(n: int) -> bool:
        most = int(stats.binom.ppf(alpha, n, margin))
        most = most if agreement_p_value(most, n, margin) <= alpha else most - 1
        return most >= 0 and float(special.bdtr(most, n, disagreement)) >= power

    reach = float(special.ndtri(1 - alpha) + special.ndtri(power))
    shortcut = reach**2 * disagreement / (margin - disagreement) ** 2
    return _first(passes, floor, max(floor, int(0.5 * shortcut))) if shortcut < 1e8 else IMPOSSIBLE


def mean_rows_needed(
    margin: float, deviation: float, drop: float, worst: float, alpha: float = 0.05
) -> int:
    """Finds the units that the bounded-mean test needs for a power of 0.8 (normal approximation).

    Args:
        margin: largest drop allowed, in the metric's unit.
        deviation: standard deviation of a unit's drop.
        drop: true drop to plan for.
        worst: largest drop that the declared bounds allow.
        alpha: one-sided error rate.

    >>> mean_rows_needed(0.01, 0.1, 0.0, 1.0) in range(600, 900)
    True
    """
    if drop >= margin:
        return IMPOSSIBLE

    def passes(n: int) -> bool:
        return pass_probability_mean(drop, deviation, n, margin, worst, alpha) >= 0.8

    return _first(passes, 300, 300)


def pass_probability_mean(
    drop: float, deviation: float, n: int, margin: float, worst: float, alpha: float = 0.05
) -> float:
    """Approximates the chance that n units certify a bounded mean, worst-case unit included."""
    if n < 300:
        return 0.0
    spread = math.sqrt(deviation**2 + (worst - drop) ** 2 / (n + 1))
    quantile = float(stats.t.ppf(1 - alpha, n))
    room = math.sqrt(n + 1) * (margin - drop) - (worst - drop) / math.sqrt(n + 1)
    return float(special.ndtr((room - quantile * spread) / max(deviation, 1e-12)))


def pass_probability(
    drop: ArrayLike,
    disagreement: ArrayLike,
    n: ArrayLike,
    margin: float,
    alpha: float = 0.05,
    drop_variance: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Approximates the chance that n rows certify a 0/1 metric; for planning and ordering only.

    Normal approximation with the variance under the margin from Tango's restricted estimate.

    Args:
        drop: true drop (or the guess of it), any shape.
        disagreement: share of rows on which exactly one model is right, same shape.
        n: rows, same shape.
        margin: largest drop allowed.
        alpha: one-sided error rate.
        drop_variance: variance of the guess itself, same shape; it blurs the answer.

    Returns:
        Probabilities, shape of `drop`; 0 below the floor of rows.

    >>> float(pass_probability(0.0, 0.03, 2000, 0.01).round(2))
    0.81
    """
    drop, rows = np.asarray(drop, dtype=np.float64), np.asarray(n, dtype=np.float64)
    both = np.maximum(np.asarray(disagreement, dtype=np.float64), np.abs(drop))
    wins = (both - drop) / 2.0
    linear = -both + (2.0 - drop) * margin
    root = np.sqrt(linear**2 + 8.0 * wins * margin * (1.0 - margin))
    restricted = (root - linear) / 2.0 + margin * (1.0 - margin)
    spread = np.sqrt(both - drop**2 + rows * np.asarray(drop_variance) + 1e-12)
    quantile = special.ndtri(1.0 - alpha)
    score = (np.sqrt(rows) * (margin - drop) - quantile * np.sqrt(restricted)) / spread
    return np.asarray(np.where(rows >= floor_rows(margin, alpha), special.ndtr(score), 0.0))


def _cells(drop: float, disagreement: float) -> tuple[float, float]:
    """Splits a disagreement into p10 and p01."""
    both = max(disagreement, abs(drop))
    if both > 1.0:
        raise ValueError(f"disagreement must be at most 1; got {both}")
    return (both + drop) / 2.0, (both - drop) / 2.0


def _power_at(critical: float, n: int, margin: float, losses: float, wins: float) -> float:
    tail = ScoreTail(critical, n, margin)
    return float(tail.probability(np.array([losses]), np.array([wins]))[0])


def _power_of_tables(
    critical: float, n: int, margin: float, losses: float, wins: float, alpha: float
) -> float:
    """Computes power from the p-value of each table near the edge of the rejection region."""
    counts = np.arange(int(n * wins + 5.0 * math.sqrt(n * wins) + 4.0) + 1, dtype=np.int64)
    counts = counts[(counts <= n) & (stats.binom.pmf(counts, n, wins) > 1e-3)]
    edges = largest_losses(counts, critical, n, margin)
    power = 0.0
    for c, guess in zip(counts.tolist(), edges.tolist(), strict=True):
        edge = guess
        while edge >= 0 and paired_binary_p_value(edge, c, n, margin) > alpha:
            edge -= 1
        while edge + c < n and paired_binary_p_value(edge + 1, c, n, margin) <= alpha:
            edge += 1
        below = float(special.bdtr(edge, n - c, losses / (1.0 - wins))) if edge >= 0 else 0.0
        power += float(stats.binom.pmf(c, n, wins)) * below
    return power


@lru_cache(maxsize=1 << 12)
def _critical_score(n: int, margin: float, alpha: float, wins: int) -> float:
    """Finds the largest score that the Berger-Boos test accepts when it sees c = `wins`."""
    grid = nuisance_grid(wins, n, margin)
    low, high = float(special.ndtri(alpha)) - 1.5, float(special.ndtri(alpha)) + 0.5
    while high - low > 2e-4:
        middle = (low + high) / 2.0
        size = float(ScoreTail(middle, n, margin).probability(grid + margin, grid).max())
        if size + NUISANCE_ERROR <= alpha:
            low = middle
        else:
            high = middle
    return low


def _first(passes: Callable[[int], bool], floor: int, start: int) -> int:
    """Walks up in steps of 1 % from `start` until `passes`, then bisects the last step.

    Power is a saw-tooth in n, so a bisection over the whole range could land on a later tooth.
    """
    below, n = floor - 1, max(start, floor)
    if passes(n):
        return n if n == floor else _first(passes, floor, max(floor, int(0.9 * n)))
    while not passes(n):
        below, n = n, n + max(1, n // 100)
        if n > 10 * MOST_ROWS:
            return IMPOSSIBLE
    while n - below > 1:
        middle = (n + below) // 2
        below, n = (below, middle) if passes(middle) else (middle, n)
    return n
