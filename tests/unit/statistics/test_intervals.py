"""Intervals for reports, against known values and by counting how often they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from jettison.statistics import (
    clopper_pearson_interval,
    log_ratio_interval,
    mean_interval,
    newcombe_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (20, 20), (57, 913)])
def test_proportions_match_scipy(k: int, n: int) -> None:
    """Clopper-Pearson and Wilson are those of scipy."""
    for found, method in ((clopper_pearson_interval, "exact"), (wilson_interval, "wilson")):
        interval = found(k, n)
        expected = stats.binomtest(k, n).proportion_ci(method=method)
        assert interval.low == pytest.approx(expected.low, abs=1e-9)
        assert interval.high == pytest.approx(expected.high, abs=1e-9)


def test_the_exact_interval_covers_at_every_state() -> None:
    """Summed over all outcomes, Clopper-Pearson covers the truth at least 95 % of the time."""
    n = 40
    ends = [clopper_pearson_interval(k, n) for k in range(n + 1)]
    for p in np.linspace(0.01, 0.99, 99):
        mass = stats.binom.pmf(np.arange(n + 1), n, p)
        covered = sum(m for m, e in zip(mass, ends, strict=True) if e.low <= p <= e.high)
        assert covered >= 0.95


def test_newcombe_covers_about_as_stated() -> None:
    """Over 2000 simulated tables the interval of the drop covers it 93 to 97 % of the time."""
    rng = np.random.default_rng(1)
    tables = rng.multinomial(200, [0.08, 0.05, 0.7, 0.17], 2000)
    ends = [newcombe_interval(*(int(x) for x in t[:3]), 200) for t in tables]
    assert 0.93 <= np.mean([e.low <= 0.03 <= e.high for e in ends]) <= 0.975


def test_one_launch_has_no_interval() -> None:
    """With one value the ends are NaN, so that nothing can be claimed from them."""
    interval = log_ratio_interval([math.log(0.5)])
    assert interval.value == pytest.approx(0.5)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_ratios_are_averaged_geometrically() -> None:
    """Twice as fast and twice as slow average to no change, with ends that mirror each other."""
    interval = log_ratio_interval(np.log([0.5, 2.0, 0.5, 2.0]))
    assert interval.value == pytest.approx(1.0)
    assert interval.low * interval.high == pytest.approx(1.0)
    assert interval.low < 1 < interval.high


def test_the_mean_interval_is_students() -> None:
    """The ends of a mean are those of scipy's t interval."""
    values = np.random.default_rng(2).normal(3, 2, 12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = mean_interval(values, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_counts_and_confidence_out_of_range_are_refused() -> None:
    """More successes than rows, or a confidence of 1, raise `ValueError`."""
    with pytest.raises(ValueError, match="counts"):
        wilson_interval(5, 4)
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([1.0, 2.0], 1.0)
