"""Acceptance 6: many looks at one sealed set ship a bad model in at most 5 % of its lives."""

from __future__ import annotations

import numpy as np
import pytest
from looks import ALPHA, life_rate
from scipy import stats

from jettison.statistics import Paired, judge
from jettison.statistics.bounded_means import bounded_mean_test
from jettison.trust.looks import look_plan

RUNS = 400
CEILING = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RUNS)


def test_fifty_adaptive_looks_of_one_bit_keep_the_error_rate() -> None:
    """The product's plan of 50 looks, one bit each, over a whole life."""
    assert life_rate(look_plan(50), "one bit", RUNS, 81) <= CEILING


def test_a_top_up_plan_keeps_the_error_rate() -> None:
    """Two declared looks at .01 and .04 add up to no more than .05."""
    assert life_rate(look_plan(2, (0.2, 0.8)), "one bit", RUNS, 82) <= CEILING


def test_full_alpha_at_each_look_is_convicted() -> None:
    """The harness sees that 20 looks at .05 each ship a bad model far too often."""
    assert life_rate([1.0] * 20, "one bit", RUNS, 83) > 0.15


def test_showing_scores_is_convicted() -> None:
    """The same plan of looks fails once the scores are shown: the reason for one bit."""
    assert life_rate(look_plan(50), "scores", 200, 84) > 0.15


@pytest.mark.parametrize(("n", "margin"), [(397, 0.01), (397, 0.03), (882, 0.01)])
def test_rare_total_losses_of_units_keep_a_small_share_of_alpha(n: int, margin: float) -> None:
    """The exact size at alpha 0.0076 and 0.002, where the t with a worst-case unit alone is wrong.

    In each unit both rows are lost, or neither; the sum runs over all numbers of lost units.
    """
    units = np.repeat(np.arange(n), 2)
    for alpha in (ALPHA * look_plan(3)[1], 0.002):
        held, alone = 0.0, 0.0
        for lost in range(int(n * margin) + 2):
            candidate = np.where(units < lost, 0.0, 1.0)
            paired = Paired(np.ones(2 * n), candidate, "binary", units=units)
            chance = float(stats.binom.pmf(lost, n, margin))
            judged = judge(paired, margin, alpha)
            held += chance * (judged.verdict == "held")
            assert (judged.verdict == "held") == (
                judged.bound is not None and judged.bound <= margin
            )
            by_t = bounded_mean_test(paired.unit_means(), margin, 1.0, alpha)
            alone += chance * (by_t.p_value <= alpha)
        assert held <= alpha
        if alpha == 0.002:
            assert alone > 2 * alpha
