"""The bounded-mean test keeps its size on the losses that break a plain t-test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from jettison.statistics import Paired, judge
from jettison.statistics.bounded_means import bounded_mean_test, unit_means

RUNS = 2000
ALPHA = 0.05
CEILING = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)
MARGIN = float(np.log(1.01))
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def light(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Normal losses around the margin."""
    return np.clip(rng.normal(MARGIN, 0.1, n), -5.5, 5.5)


def skewed(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Right-skewed losses whose mean is the margin."""
    return np.minimum(MARGIN - 0.15 + rng.gamma(0.5, 0.3, n), 5.5)


def catastrophe(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """0.2 % of rows lose 5 nats, the rest next to nothing."""
    return np.where(rng.random(n) < 0.002, 5.0, MARGIN - 0.01) + rng.normal(0, 0.01, n)


def held_rate(draw: Draw, n: int, seed: int) -> float:
    """Shares of runs that call a drop at the margin held."""
    rng = np.random.default_rng(seed)
    held = [
        bounded_mean_test(unit_means(draw(rng, n), None, None), MARGIN, 5.5).p_value <= ALPHA
        for _ in range(RUNS)
    ]
    return float(np.mean(held))


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("draw", [light, skewed, catastrophe])
def test_a_mean_at_the_margin_is_held_at_most_at_alpha(draw: Draw, n: int) -> None:
    """Light, skewed and rare-catastrophe losses keep the size, from the fewest units allowed on."""
    assert held_rate(draw, n, n) <= CEILING


def test_a_plain_t_test_would_fail_here() -> None:
    """Without the worst-case row, rare catastrophes pass far beyond alpha: the reason for it."""
    rng = np.random.default_rng(61)
    samples = np.array([catastrophe(rng, 500) for _ in range(500)])
    p_values = stats.ttest_1samp(samples, MARGIN, axis=1, alternative="less").pvalue
    assert (p_values <= ALPHA).mean() > 0.2


def documents(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], ...]:
    """Draws 0/1 rows in documents of uneven length that share an effect; the drop is 2 %."""
    sizes = rng.integers(5, 40, count)
    document = np.repeat(np.arange(count), sizes)
    p10 = np.repeat(rng.beta(0.3, 7.2, count), sizes)
    losses = rng.random(document.size) < p10
    wins = ~losses & (rng.random(document.size) < 0.02 / (1 - p10))
    return losses.astype(float), wins.astype(float), document.astype(float)


def test_rows_of_one_document_are_not_counted_as_independent() -> None:
    """With the unit declared the size holds; with rows taken as independent it does not."""
    rng = np.random.default_rng(62)
    together, apart = [], []
    for _ in range(600):
        losses, wins, document = documents(rng, 320)
        drops, units = losses - wins, document.astype(np.int64)
        for p_values, sample in (
            (together, unit_means(drops, units, None)),
            (apart, unit_means(drops, None, None)),
        ):
            p_values.append(bounded_mean_test(sample, 0.02, 1.0).p_value)
    ceiling = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 600)
    assert np.mean(np.array(together) <= ALPHA) <= ceiling
    assert np.mean(np.array(apart) <= ALPHA) > 0.1


def test_oversampled_rows_with_weights_keep_the_size() -> None:
    """A group drawn four times too often, and weighted back, keeps the size of the whole."""
    rng = np.random.default_rng(63)
    held = 0
    for _ in range(600):
        rare = rng.random(1500) < 0.4
        p10 = np.where(rare, 0.06, 0.02)
        losses = rng.random(1500) < p10
        weights = np.where(rare, 0.1 / 0.4, 0.9 / 0.6)
        paired = Paired(np.ones(1500), 1.0 - losses, "binary", weights=weights)
        # The drop of the population is 0.1 * 6 % + 0.9 * 2 % = 2.4 %.
        held += bounded_mean_test(paired.unit_means(), 0.024, 1.0).p_value <= ALPHA
    assert held / 600 <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 600)


def test_fewer_units_than_the_minimum_are_refused() -> None:
    """299 units are undecided whatever they show; 300 can be held."""
    small, enough = (Paired(np.ones(n), np.ones(n), "bounded_mean") for n in (299, 300))
    assert judge(small, 0.05).verdict == "undecided"
    assert judge(enough, 0.05).verdict == "held"
