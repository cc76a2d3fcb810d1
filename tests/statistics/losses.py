"""Losses that are hard for a test of a mean, with their true mean at the margin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from jettison.statistics.bounded_means import bounded_mean_test, unit_means

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

ALPHA = 0.05
MARGIN = float(np.log(1.01))


def light(rng: np.random.Generator, n: int) -> Floats:
    """Draws normal losses around the margin."""
    return np.clip(rng.normal(MARGIN, 0.1, n), -0.5, 0.5)


def skewed(rng: np.random.Generator, n: int) -> Floats:
    """Draws right-skewed losses whose mean is the margin."""
    return np.minimum(MARGIN - 0.15 + rng.gamma(0.5, 0.3, n), 3.0)


def catastrophe(rng: np.random.Generator, n: int) -> Floats:
    """Draws losses of which 0.2 % are 5 nats, the rest next to nothing."""
    return np.where(rng.random(n) < 0.002, 5.0 + MARGIN - 0.01, MARGIN - 0.01) + rng.normal(
        0, 0.01, n
    )


# Largest loss that the declared bounds of each metric allow, in nats.
WORST: Mapping[Draw, float] = {light: 0.5, skewed: 3.0, catastrophe: 5.5}


def documents(rng: np.random.Generator, count: int) -> tuple[Floats, NDArray[np.int64]]:
    """Draws row drops of -1, 0 or 1 in documents of uneven length that share an effect.

    Returns:
        Drops with a true mean of 2 %, and the document of each row.
    """
    sizes = rng.integers(5, 40, count)
    document = np.repeat(np.arange(count), sizes)
    p10 = np.repeat(rng.beta(0.3, 7.2, count), sizes)
    losses = rng.random(document.size) < p10
    wins = ~losses & (rng.random(document.size) < 0.02 / (1 - p10))
    return losses.astype(float) - wins, document


def held_rate(draw: Draw, n: int, runs: int, seed: int) -> float:
    """Finds the share of runs that call a drop at the margin held."""
    rng = np.random.default_rng(seed)
    p_values = [
        bounded_mean_test(unit_means(draw(rng, n), None, None), MARGIN, WORST[draw]).p_value
        for _ in range(runs)
    ]
    return float(np.mean(np.array(p_values) <= ALPHA))
