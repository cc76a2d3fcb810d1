"""Ratios over rounds: exact where nothing varies, honest about few rounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.load.ratios import bootstrap_median, ratio


def test_a_constant_ratio_has_no_width() -> None:
    """What the machine does to both in a round cancels."""
    weather = np.array([1.0, 3.0, 0.2, 7.0, 1.5])
    found = ratio(2.0 * weather, weather)
    assert (found.value, found.low, found.high, found.n) == pytest.approx((2.0, 2.0, 2.0, 5))


def test_few_rounds_have_no_interval() -> None:
    """Three rounds give a median, and no ends."""
    found = bootstrap_median([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_interval_holds_most_medians() -> None:
    """Of 200 sets of 10 rounds around 1, at least 88 % of the intervals hold 1."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        found = ratio(np.exp(rng.normal(0, 0.1, 10)), np.ones(10))
        covered += found.low <= 1.0 <= found.high
    assert covered >= 0.88 * 200


def test_the_same_rounds_give_the_same_interval() -> None:
    """Resampling is seeded."""
    values = [1.0, 1.2, 0.9, 1.1, 1.3]
    assert bootstrap_median(values) == bootstrap_median(values)
