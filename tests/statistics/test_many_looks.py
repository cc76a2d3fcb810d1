"""Acceptance 6: many looks at one sealed set ship a bad model in at most 5 % of its lives."""

from __future__ import annotations

import numpy as np
from looks import ALPHA, life_rate

from jettison.trust.looks import look_plan

RUNS = 600
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
