"""The paired 0/1 tests at the level of single functions."""

from __future__ import annotations

import pytest

from jettison.statistics import (
    agreement_harm_p_value,
    agreement_p_value,
    agreement_upper_bound,
    paired_binary_harm_p_value,
    paired_binary_p_value,
    paired_binary_upper_bound,
    tango_z,
)


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 400), (9, 4, 700), (40, 60, 300), (1, 9, 50)])
@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2])
def test_exchanging_the_models_flips_the_score(b: int, c: int, n: int, margin: float) -> None:
    """The score of a table is minus that of the exchanged table at the opposite margin."""
    assert tango_z(b, c, n, margin) == pytest.approx(-tango_z(c, b, n, -margin), abs=1e-12)


@pytest.mark.parametrize(("b", "c", "n"), [(9, 4, 700), (30, 2, 300), (0, 0, 500), (5, 5, 80)])
def test_both_directions_are_never_significant_at_once(b: int, c: int, n: int) -> None:
    """A table that shows no drop beyond the margin does not show harm too, and the reverse."""
    both = paired_binary_p_value(b, c, n, 0.02), paired_binary_harm_p_value(b, c, n, 0.02)
    assert max(both) > 0.4


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize(
    ("b", "c", "n"), [(0, 0, 60), (7, 9, 1000), (60, 20, 900), (0, 40, 400), (3, 0, 3)]
)
def test_the_bound_is_where_the_p_value_crosses_alpha(b: int, c: int, n: int, alpha: float) -> None:
    """The certifiable tolerance is certified, and one a little smaller is not."""
    bound = paired_binary_upper_bound(b, c, n, alpha)
    if bound < 1:
        assert paired_binary_p_value(b, c, n, bound) <= alpha
        below = bound - 0.02 * (bound - (b - c) / n)
        assert paired_binary_p_value(b, c, n, below) > alpha
    else:
        assert paired_binary_p_value(b, c, n, 0.999) > alpha


def test_a_better_candidate_has_a_negative_bound() -> None:
    """Where the candidate wins many rows, even an improvement can be certified."""
    assert paired_binary_upper_bound(2, 60, 500) < 0


def test_agreement_bound_and_p_values_agree() -> None:
    """At the Clopper-Pearson bound the binomial p-value is alpha, and its harm side is not."""
    bound = agreement_upper_bound(4, 600)
    assert agreement_p_value(4, 600, bound) == pytest.approx(0.05)
    assert agreement_harm_p_value(4, 600, bound) > 0.9
    assert agreement_harm_p_value(0, 600, 0.01) == 1.0
    assert agreement_upper_bound(5, 5) == 1.0


def test_no_rows_certify_nothing() -> None:
    """Without rows the p-value is 1 and the bound is the whole range."""
    assert paired_binary_p_value(0, 0, 0, 0.01) == 1.0
    assert agreement_p_value(0, 0, 0.01) == 1.0
    assert paired_binary_upper_bound(0, 0, 0) == 1.0


@pytest.mark.parametrize(("b", "c", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, -1)])
def test_impossible_tables_are_refused(b: int, c: int, n: int) -> None:
    """Negative counts, or more disagreements than rows, raise `ValueError`."""
    with pytest.raises(ValueError, match="counts"):
        paired_binary_p_value(b, c, n, 0.01)
