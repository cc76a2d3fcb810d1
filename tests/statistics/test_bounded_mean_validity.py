"""The bounded-mean test keeps its size on the losses that break a plain t-test."""

from __future__ import annotations

import numpy as np
import pytest
from losses import MARGIN, Draw, catastrophe, documents, held_rate, light, skewed
from scipy import stats

from jettison.statistics import Paired, judge
from jettison.statistics.bounded_means import bounded_mean_test, unit_means

RUNS = 2000
ALPHA = 0.05
CEILING = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("draw", [light, skewed, catastrophe])
def test_a_mean_at_the_margin_is_held_at_most_at_alpha(draw: Draw, n: int) -> None:
    """Light, skewed and rare-catastrophe losses keep the size, from the fewest units allowed on."""
    assert held_rate(draw, n, RUNS, n) <= CEILING


def test_a_plain_t_test_would_fail_here() -> None:
    """Without the worst-case row, rare catastrophes pass far beyond alpha: the reason for it."""
    rng = np.random.default_rng(61)
    samples = np.array([catastrophe(rng, 500) for _ in range(500)])
    p_values = stats.ttest_1samp(samples, MARGIN, axis=1, alternative="less").pvalue
    assert (p_values <= ALPHA).mean() > 0.2


def test_rows_of_one_document_are_not_counted_as_independent() -> None:
    """With the unit declared the size holds; with rows taken as independent it does not."""
    rng = np.random.default_rng(62)
    together, apart = [], []
    for _ in range(300):
        drops, units = documents(rng, 1500)
        for p_values, sample in (
            (together, unit_means(drops, units, None)),
            (apart, unit_means(drops, None, None)),
        ):
            p_values.append(bounded_mean_test(sample, 0.02, 1.0).p_value)
    ceiling = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 300)
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
