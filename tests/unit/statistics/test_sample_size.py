"""Rows needed, floors and predicted chances."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.statistics import (
    IMPOSSIBLE,
    agreement_p_value,
    agreement_rows_needed,
    floor_rows,
    mean_rows_needed,
    paired_binary_power,
    pass_probability,
    rows_needed,
)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02, 0.05, 0.5])
def test_the_floor_is_the_first_size_that_can_be_held(margin: float, alpha: float) -> None:
    """At the floor a clean sample has a p-value of at most alpha, one row below it has not."""
    floor = floor_rows(margin, alpha)
    assert agreement_p_value(0, floor, margin) <= alpha + 1e-12
    assert agreement_p_value(0, floor - 1, margin) > alpha


def test_more_disagreement_and_more_drop_need_more_rows() -> None:
    """Rows needed rise with disagreement and with the drop planned for."""
    by_disagreement = [rows_needed(0.02, d, 0.0) for d in (0.01, 0.03, 0.08)]
    by_drop = [rows_needed(0.02, 0.03, drop) for drop in (0.0, 0.005, 0.01)]
    assert by_disagreement == sorted(set(by_disagreement))
    assert by_drop == sorted(set(by_drop))


def test_a_drop_at_the_margin_needs_impossibly_many_rows() -> None:
    """Where the truth is at the margin, no number of rows is named."""
    assert rows_needed(0.01, 0.03, 0.01) == IMPOSSIBLE
    assert agreement_rows_needed(0.01, 0.01) == IMPOSSIBLE
    assert mean_rows_needed(0.01, 0.1, 0.01, 1.0) == IMPOSSIBLE


@pytest.mark.parametrize(
    ("churn", "n", "power"), [(0.003, 2000, 0.99), (0.005, 2000, 0.79), (0.007, 5000, 0.73)]
)
def test_agreement_rows_match_the_known_power(churn: float, n: int, power: float) -> None:
    """The churn certificate's power at a margin of 1 % brackets the rows that are printed."""
    needed = agreement_rows_needed(0.01, churn, power=power)
    assert needed == pytest.approx(n, rel=0.12)


def test_the_quick_chance_is_near_the_exact_one() -> None:
    """The planning approximation is within .04 of the exact power where 0/1 rows are many."""
    for n in (1000, 2000, 5000):
        for drop in (0.0, 0.004):
            quick = float(pass_probability(drop, 0.03, n, 0.01))
            assert quick == pytest.approx(paired_binary_power(drop, 0.03, n, 0.01), abs=0.04)


def test_doubt_about_the_drop_pulls_the_chance_towards_even() -> None:
    """A guess with its own variance is less sure of passing, and less sure of failing."""
    likely, unlikely = (
        pass_probability(drop, 0.03, 5000, 0.01, drop_variance=np.array([0.0, 1e-4]))
        for drop in (0.0, 0.02)
    )
    assert likely[1] < likely[0]
    assert unlikely[1] > unlikely[0]


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_margin_out_of_range_is_refused(margin: float) -> None:
    """A floor needs a margin strictly between 0 and 1."""
    with pytest.raises(ValueError, match="margin"):
        floor_rows(margin)


def test_an_error_rate_below_every_p_value_needs_impossibly_many_rows() -> None:
    """A late look may spend less than the smallest p-value that there is; no search goes on for it."""
    assert paired_binary_power(0.0, 0.03, 100_000, 0.01, 5e-6) == 0.0
    assert rows_needed(0.01, 0.03, 0.0, 5e-6) == IMPOSSIBLE
    assert rows_needed(0.01, 0.0, 0.0, 5e-6) == IMPOSSIBLE
