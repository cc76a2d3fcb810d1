"""PSI and KS from counts: against what they are defined as, and at few rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from jettison.statistics.drift import (
    MINIMUM,
    MODERATE,
    bin_counts,
    compare,
    equal_mass_edges,
)


def counts(values: np.ndarray, edges: np.ndarray) -> list[int]:
    """Counts as a list."""
    return [int(n) for n in bin_counts(values, edges)]


def test_bins_hold_about_equally_many_values() -> None:
    """Twenty bins of normal values differ by a few values only, in spite of rounded edges."""
    values = np.random.default_rng(0).normal(size=2000)
    found = counts(values, equal_mass_edges(values, 20))
    assert found[-1] == 0
    assert len(found) == 21
    assert max(found[:-1]) - min(found[:-1]) <= 10


def test_edges_are_rounded() -> None:
    """An edge tells no value of a row: it has about three digits of the spread."""
    values = np.random.default_rng(1).normal(50_000, 10_000, size=500)
    edges = equal_mass_edges(values, 20)
    assert set(edges) & set(values) == set()
    np.testing.assert_allclose(edges, np.round(edges, -1))


def test_repeated_values_give_fewer_bins() -> None:
    """Mostly zeros leave one edge at zero, and all values are counted."""
    values = np.array([0.0] * 900 + [1.0, 2.0] * 50)
    edges = equal_mass_edges(values, 10)
    assert edges.tolist() == [0.0]
    assert counts(values, edges) == [900, 100, 0]


def test_what_is_not_finite_is_counted_apart() -> None:
    """NaN and infinity are no smallest or largest values."""
    assert counts(np.array([1.0, np.nan, 3.0, np.inf, -np.inf]), np.array([2.0])) == [1, 1, 3]


def test_psi_is_its_formula() -> None:
    """With many rows per bin smoothing does not show."""
    before, after = [40_000, 30_000, 20_000, 10_000, 0], [10_000, 20_000, 30_000, 40_000, 0]
    p, q = np.array(after[:4]) / 1e5, np.array(before[:4]) / 1e5
    found = compare(before, after, ordered=False)
    assert found is not None
    assert found.psi == pytest.approx(float(((p - q) * np.log(p / q)).sum()), rel=1e-3)
    assert found.ks is None
    assert found.drifted


def test_ks_is_that_of_the_values_at_the_edges() -> None:
    """With many edges it comes close to the distance of the samples themselves, from below."""
    rng = np.random.default_rng(2)
    before, after = rng.normal(size=4000), rng.normal(0.3, 1.2, size=3000)
    edges = equal_mass_edges(before, 100)
    found = compare(counts(before, edges), counts(after, edges), ordered=True)
    whole = stats.ks_2samp(before, after).statistic
    assert found is not None
    assert found.ks is not None
    assert whole - 0.02 <= found.ks <= whole + 1e-12


def test_a_value_that_was_never_seen_is_drift() -> None:
    """Live values that fit in no category count against the reference."""
    found = compare([512, 0], [0, 300], ordered=False)
    assert found is not None
    assert found.drifted


def test_few_rows_say_nothing() -> None:
    """Below the minimum there is no score at all, rather than a noisy one."""
    assert compare([100, 100, 0], [MINIMUM - 1, 0, 0], ordered=True) is None
    assert compare([0, 0, 0], [500, 500, 0], ordered=True) is None


def test_the_limit_grows_where_rows_are_few() -> None:
    """With 50 reference rows a score above 0.1 may be an accident, and is not called drift."""
    few = compare([5] * 10 + [0], [10] * 10 + [0], ordered=True, tests=20)
    many = compare([500] * 10 + [0], [200] * 10 + [0], ordered=True, tests=20)
    assert few is not None
    assert many is not None
    assert few.limit > 3 * MODERATE
    assert many.limit == MODERATE


def test_sides_must_have_the_same_bins() -> None:
    """Counts of other bins are a fault of the caller."""
    with pytest.raises(ValueError, match="shapes"):
        compare([1, 2], [1, 2, 3], ordered=True)
