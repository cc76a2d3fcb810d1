"""Simulated lives of one sealed set: many looks, a user who changes a model between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np

from jettison.statistics import floor_rows, paired_binary_p_value
from jettison.statistics.score import tango_statistic

MARGIN = 0.01
ROWS = 2000
ALPHA = 0.05
# A drop of exactly the margin, at a disagreement of 3 %.
LOSSES, WINS = 0.02, 0.01


@cache
def p_value(b: int, c: int) -> float:
    """The product's p-value; 1 where the score alone shows that no look would accept it."""
    if float(tango_statistic(b, c, ROWS, MARGIN)) > -1.3:
        return 1.0
    return paired_binary_p_value(b, c, ROWS, MARGIN)


def ships_bad(
    rng: np.random.Generator,
    shares: Sequence[float],
    shown: Literal["one bit", "scores"],
    rows: Sequence[int] = (),
) -> bool:
    """Lives once: whether any look ships a candidate that truly loses the margin.

    Args:
        shares: of alpha, look by look; the life ends with the first that ships.
        shown: with `scores` the user keeps a change that looked better on the sealed rows.
        rows: how many of the sealed rows each look may use (a top-up plan); empty for all.
    """

    def fates(size: int) -> np.ndarray:
        u = rng.random(size)
        return (u < LOSSES).astype(np.int8) - (u > 1 - WINS).astype(np.int8)

    best = fates(ROWS)
    best_score = int(best.sum())
    for look, share in enumerate(shares):
        child = best.copy()
        changed = rng.integers(ROWS, size=ROWS // 10)
        child[changed] = fates(changed.size)
        n = rows[look] if rows else ROWS
        b, c = int((child[:n] == 1).sum()), int((child[:n] == -1).sum())
        alpha = ALPHA * share
        p = p_value(b, c) if n == ROWS else paired_binary_p_value(b, c, n, MARGIN)
        if n >= floor_rows(MARGIN, alpha) and p <= alpha:
            return True
        score = int(child.sum())
        if shown == "one bit" or score <= best_score:
            best, best_score = child, score
    return False


def life_rate(
    shares: Sequence[float], shown: Literal["one bit", "scores"], runs: int, seed: int
) -> float:
    """The share of lives in which a bad model ships."""
    rng = np.random.default_rng(seed)
    return float(np.mean([ships_bad(rng, shares, shown) for _ in range(runs)]))
