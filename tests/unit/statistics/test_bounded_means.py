"""Unit means and the worst-case unit."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.statistics.bounded_means import UnitMeans, bounded_mean_test, unit_means


def test_rows_of_a_unit_are_averaged_and_counted() -> None:
    """Three rows in two units give two means whose weights are the row counts."""
    sample = unit_means(np.array([1.0, 0.0, -0.5]), np.array([1, 1, 0]), None)
    assert sorted(zip(sample.means, sample.weights, strict=True)) == [(-0.5, 1.0), (0.5, 2.0)]
    assert sample.estimate == pytest.approx(0.5 / 3)


def test_rows_without_weight_are_left_out() -> None:
    """A row of weight 0 changes neither the estimate nor the number of units."""
    sample = unit_means(np.array([0.2, 0.9]), None, np.array([1.0, 0.0]))
    assert (sample.means.size, sample.estimate) == (1, pytest.approx(0.2))


def test_effective_units_fall_with_uneven_weights() -> None:
    """Equal weights count each unit; one dominant weight counts as about one."""
    means = np.zeros(10)
    assert UnitMeans(means, np.ones(10)).effective_units == pytest.approx(10)
    heavy = np.array([1000.0, *np.ones(9)])
    assert UnitMeans(means, heavy).effective_units < 1.1


def test_the_worst_case_unit_makes_the_test_harder() -> None:
    """The looser the declared bounds, the larger the bound of the drop."""
    sample = UnitMeans(np.random.default_rng(1).normal(0, 0.05, 500), np.ones(500))
    bounds = [bounded_mean_test(sample, 0.01, worst).bound for worst in (0.5, 1.0, 5.0)]
    assert bounds == sorted(set(bounds))


def test_the_bound_is_where_the_p_value_is_alpha() -> None:
    """Testing the bound itself gives a p-value of alpha."""
    sample = UnitMeans(np.random.default_rng(2).normal(0, 0.1, 400), np.ones(400))
    bound = bounded_mean_test(sample, 0.01, 1.0, 0.05).bound
    assert bounded_mean_test(sample, bound, 1.0, 0.05).p_value == pytest.approx(0.05)


def test_harm_is_judged_with_the_extreme_on_the_other_side() -> None:
    """Adding the best case makes harm harder to show than a plain t-test would."""
    sample = UnitMeans(np.full(400, 0.02), np.ones(400))
    assert bounded_mean_test(sample, 0.0199, 1.0).harm_p_value > 0.5
    assert bounded_mean_test(sample, 0.001, 1.0).harm_p_value < 0.05


def test_all_units_at_the_worst_case_are_not_held() -> None:
    """A sample without spread at the worst value has a p-value of 1."""
    assert bounded_mean_test(UnitMeans(np.ones(400), np.ones(400)), 0.1, 1.0).p_value == 1.0


def test_values_beyond_the_bound_and_empty_samples_are_refused() -> None:
    """A mean beyond the declared worst case, or no unit at all, raises `ValueError`."""
    with pytest.raises(ValueError, match="bounds"):
        bounded_mean_test(UnitMeans(np.array([2.0]), np.ones(1)), 0.1, 1.0)
    with pytest.raises(ValueError, match="at least one unit"):
        bounded_mean_test(UnitMeans(np.empty(0), np.empty(0)), 0.1, 1.0)
