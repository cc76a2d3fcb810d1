"""Thresholds by group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.errors import CandidateFailed
from jettison.numerics.group_thresholds import chosen_thresholds, moved

RANDOM = np.random.default_rng(0)
CELLS = np.repeat(["a", "b"], 400)
SCORES = np.concatenate([RANDOM.beta(2, 4, 400), RANDOM.beta(4, 2, 400)])
POSITIVE = RANDOM.random(800) < SCORES


@pytest.mark.parametrize("rule", ["equal_selection_rates", "equal_true_positive_rates"])
def test_each_group_gets_the_rate_of_the_whole(rule: str) -> None:
    """Selection rates (or true positive rates) meet; the others need not."""
    made = chosen_thresholds(rule, SCORES, CELLS, POSITIVE, 0.02)
    counted = POSITIVE if rule.endswith("positive_rates") else np.ones(800, bool)
    whole = (SCORES[counted] > 0.5).mean()
    for name in "ab":
        mine = counted & (name == CELLS)
        assert (SCORES[mine] > made[name]).mean() == pytest.approx(whole, abs=0.01)
    assert made["a"] < 0.5 < made["b"]


def test_the_reject_option_is_symmetric_and_reads_no_labels() -> None:
    """One width for all; the least that brings the rates together."""
    made = chosen_thresholds("reject_option", SCORES, CELLS, None, 0.05)
    assert 0.5 - made["a"] == pytest.approx(made["b"] - 0.5)
    rates = [(SCORES[name == CELLS] > made[name]).mean() for name in "ab"]
    assert abs(rates[0] - rates[1]) <= 0.05
    far = np.where(CELLS == "a", 0.01, 0.99)
    with pytest.raises(CandidateFailed, match="no width"):
        chosen_thresholds("reject_option", far, CELLS, None, 0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.999))
def test_moved_scores_keep_their_order_and_their_side(scores: list[float], at: float) -> None:
    """Above the threshold before is above one half after; the order stays."""
    before = np.sort(np.array(scores))
    after = moved(before, np.array(["a"] * len(before)), {"a": at})
    assert ((after > 0.5) <= (before > at)).all()
    assert (np.diff(after) >= -1e-12).all()
    assert after.min() >= 0
    assert after.max() <= 1


def test_what_can_not_be_chosen_is_refused() -> None:
    """Unknown rules, no labels, too few rows of a group."""
    with pytest.raises(CandidateFailed, match="must be one of"):
        chosen_thresholds("best", SCORES, CELLS, None, 0.02)
    with pytest.raises(CandidateFailed, match="needs labels"):
        chosen_thresholds("equal_true_positive_rates", SCORES, CELLS, None, 0.02)
    few = np.where(np.arange(800) < 5, "c", CELLS)
    with pytest.raises(CandidateFailed, match="group `c` has 5 rows"):
        chosen_thresholds("equal_selection_rates", SCORES, few, None, 0.02)
