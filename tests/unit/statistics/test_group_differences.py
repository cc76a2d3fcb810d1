"""Differences and ratios between groups: fairlearn's values, valid intervals, three verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.statistics.group_differences import (
    largest_difference,
    ratio_bounds,
    smallest_ratio,
    worse_of,
)
from jettison.statistics.group_rates import (
    FALSE_POSITIVE,
    SELECTION,
    TRUE_POSITIVE,
    Answers,
    class_rates,
    tally,
)
from jettison.statistics.group_values import GroupValues, Sums, wilson_bounds


def rates_of(hits, n):
    n = np.asarray(n, float)
    return GroupValues(SELECTION, np.asarray(hits) / n, Sums(n, n, n))


def test_agrees_with_fairlearn():
    """Demographic parity, its ratio, equal opportunity and equalised odds are fairlearn's."""
    from fairlearn import metrics

    r = np.random.default_rng(5)
    codes, targets = r.integers(0, 4, 1000), r.integers(0, 2, 1000)
    decisions = (r.random(1000) < 0.2 + 0.1 * codes + 0.3 * targets).astype(np.int64)
    rates = class_rates(tally(Answers(decisions, targets, 2), codes, 4), 1)
    told = {"y_true": targets, "y_pred": decisions, "sensitive_features": codes}
    assert largest_difference(rates[SELECTION]).value == pytest.approx(
        metrics.demographic_parity_difference(**told)
    )
    assert smallest_ratio(rates[SELECTION]).value == pytest.approx(
        metrics.demographic_parity_ratio(**told)
    )
    opportunity = largest_difference(rates[TRUE_POSITIVE])
    assert opportunity.value == pytest.approx(metrics.equal_opportunity_difference(**told))
    odds = worse_of("equalised_odds", opportunity, largest_difference(rates[FALSE_POSITIVE]))
    assert odds.value == pytest.approx(metrics.equalized_odds_difference(**told))


@pytest.mark.parametrize(
    ("hits", "n", "verdict"),
    [
        ((500, 300), (1000, 1000), "below"),
        ((500, 495), (1000, 1000), "not below"),
        ((50, 39), (100, 100), "undecided"),  # 0.78: the bare rule would call it discrimination
        ((50, 41), (100, 100), "undecided"),  # 0.82: the bare rule would acquit it
    ],
)
def test_three_verdicts(hits, n, verdict):
    """A ratio is below 0.8, or not, only where its whole interval is."""
    assert smallest_ratio(rates_of(hits, n)).verdict == verdict


def test_false_findings_are_rare_although_the_extremes_are_picked():
    """With ten groups at a true ratio of 1 and 0.8, wrong verdicts stay within 2.5 % of runs."""
    r = np.random.default_rng(11)
    equal = [smallest_ratio(rates_of(r.binomial(200, 0.5, 10), [200] * 10)) for _ in range(400)]
    assert sum(one.verdict == "below" for one in equal) <= 10
    # At exactly 0.8 neither end may be crossed more often than its error.
    chances = np.array([0.5] + [0.4] + [0.45] * 8)
    edge = [smallest_ratio(rates_of(r.binomial(3000, chances), [3000] * 10)) for _ in range(400)]
    assert sum(one.verdict == "not below" for one in edge) <= 20
    assert sum(one.verdict == "below" for one in edge) <= 20


def test_the_interval_of_the_largest_difference_holds():
    """Over 400 runs of six groups, the true largest difference is missed in at most 5 %."""
    r = np.random.default_rng(2)
    chances = np.array([0.3, 0.32, 0.4, 0.4, 0.35, 0.33])
    found = [largest_difference(rates_of(r.binomial(150, chances), [150] * 6)) for _ in range(400)]
    missed = sum(not one.low <= 0.1 <= one.high for one in found)
    assert missed <= 28  # 5 % of 400 and two standard errors


def test_the_ratio_covers():
    """The interval of a ratio of two rates covers about as often as stated."""
    r = np.random.default_rng(3)
    n = 80
    a, b = r.binomial(n, 0.15, 4000) / n, r.binomial(n, 0.3, 4000) / n
    sizes = np.full(4000, float(n))
    low, high = ratio_bounds((a, *wilson_bounds(a, sizes)), (b, *wilson_bounds(b, sizes)))
    assert 0.93 <= np.mean((low <= 0.5) & (high >= 0.5)) <= 0.975


def test_small_groups_take_no_part():
    """A group of one row is left out of comparisons, and leaves no verdict open."""
    rates = rates_of((500, 490, 1), (1000, 1000, 1))
    assert smallest_ratio(rates).verdict == "not below"
    assert largest_difference(rates).value == pytest.approx(0.01)
    assert np.isnan(largest_difference(rates_of((1, 1), (1, 1))).value)
    assert smallest_ratio(rates_of((0, 0), (50, 50))) is None


def test_a_rate_of_zero_has_a_ratio():
    """Nobody selected in one group: the ratio is 0, and its upper end says what is possible."""
    found = smallest_ratio(rates_of((0, 60), (100, 100)))
    assert found.value == 0.0
    assert 0.0 < found.high < 0.2
    assert found.verdict == "below"


def test_a_threshold_outside_its_range_is_refused():
    """The threshold of a ratio lies above 0 and at most at 1."""
    with pytest.raises(ValueError, match="threshold"):
        smallest_ratio(rates_of((1, 2), (50, 50)), threshold=1.2)
