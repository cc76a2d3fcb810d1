"""Ratios of sums and influence values: verdicts, floors, bounds, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.statistics import Paired, judge
from jettison.statistics.skewed_means import (
    UnitTotals,
    skew_corrected_bound,
    skew_corrected_p_value,
    unit_totals,
)


def words(errors_more: int, n: int = 2000, **changes: object) -> Paired:
    """Utterances of 10 words; the candidate makes one more error in some of them."""
    baseline, candidate = np.ones(n), np.ones(n)
    candidate[:errors_more] += 1
    more = {"bases": np.full(n, 10.0), "better": "lower", "high": 2.0, **changes}
    return Paired(baseline, candidate, "ratio_of_sums", **more)  # type: ignore[arg-type]


def influence(drops: np.ndarray, positives: int, **changes: object) -> Paired:
    """Influence values whose difference is `drops`."""
    strata = (np.arange(drops.size) < positives).astype(np.int64)
    more = {"strata": strata, **changes}
    return Paired(np.full(drops.size, 0.8), 0.8 - drops, "influence", **more)  # type: ignore[arg-type]


def test_a_ratio_has_three_verdicts() -> None:
    """One error more in 20, 190 and 600 of 2,000 utterances: 0.1, 0.95 and 3 points of WER."""
    found = [judge(words(more), 0.01) for more in (20, 190, 600)]
    assert [one.verdict for one in found] == ["held", "undecided", "broken"]
    assert [one.grade for one in found] == ["B"] * 3
    assert found[0].estimate == pytest.approx(0.001)
    assert found[1].rows_needed > 2000


def test_too_few_utterances_are_never_held() -> None:
    """Below the floor of 643 (1 %, twice the words at most) no error at all is still undecided."""
    few, enough = judge(words(0, 642), 0.01), judge(words(0, 643), 0.01)
    assert (few.verdict, enough.verdict) == ("undecided", "held")
    assert "below the floor of 643" in few.reason
    assert few.rows_needed >= 643


def test_a_few_long_utterances_count_as_few() -> None:
    """2,000 utterances whose words lie in 100 of them carry no verdict."""
    bases = np.where(np.arange(2000) < 100, 1000.0, 1.0)
    few = judge(words(0, bases=bases), 0.01)
    assert few.verdict == "undecided"
    assert "units (by base)" in few.reason


def test_more_errors_than_the_bound_allows_are_undecided() -> None:
    """A contribution beyond its declared bounds gives no verdict, and says so."""
    paired = words(0)
    beyond = Paired(
        paired.baseline, paired.candidate * 30, "ratio_of_sums", bases=paired.bases, high=2.0
    )
    assert "beyond its declared bounds" in judge(beyond, 0.01).reason


def test_influence_needs_many_of_both_classes() -> None:
    """With 320 positives a margin of 1 % is undecided, whatever they show; 321 can be held."""
    few, enough = (judge(influence(np.zeros(4000), k), 0.01) for k in (320, 321))
    assert (few.verdict, enough.verdict) == ("undecided", "held")
    assert "320 rows (or units) of the rarer class" in few.reason
    wide = [judge(influence(np.zeros(4000), k), 0.05).verdict for k in (199, 200)]
    assert wide == ["undecided", "held"]


def test_influence_refuses_what_it_has_no_test_for() -> None:
    """Unequal weights and missing classes give grade C."""
    drops = np.zeros(2000)
    weighted = judge(influence(drops, 900, weights=np.linspace(1, 2, 2000)), 0.01)
    blind = judge(influence(drops, 900, strata=None), 0.01)
    assert (weighted.verdict, weighted.grade) == ("undecided", "C")
    assert (blind.verdict, blind.grade) == ("undecided", "C")


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.002, 0.05))
def test_the_bound_is_within_the_margin_exactly_when_held(seed: int, margin: float) -> None:
    """A held claim has its bound within the margin, any other beyond it."""
    rng = np.random.default_rng(seed)
    drops = rng.normal(rng.uniform(0, 0.02), 0.2, 1500) * (rng.random(1500) < 0.2)
    one = judge(influence(drops, 600), margin)
    assert one.bound is not None
    assert (one.verdict == "held") == (one.bound <= margin)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_and_names_of_units_do_not_matter(seed: int) -> None:
    """Shuffled rows with renamed units give the same judgement to the last digit."""
    rng = np.random.default_rng(seed)
    n = 1500
    base, extra = rng.integers(1, 20, n).astype(float), rng.random(n) < 0.05
    units = rng.integers(0, 900, n)
    paired = Paired(
        np.zeros(n), 1.0 * extra, "ratio_of_sums", units=units, bases=base, better="lower", high=2
    )
    order = rng.permutation(n)
    other = Paired(
        np.zeros(n),
        1.0 * extra[order],
        "ratio_of_sums",
        units=(7000 - units[order]).astype(str),
        bases=base[order],
        better="lower",
        high=2,
    )
    assert judge(paired, 0.01) == judge(other, 0.01)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.5), st.floats(1.01, 3.0))
def test_a_wider_margin_is_never_harder(seed: int, margin: float, factor: float) -> None:
    """The corrected p-value falls as the margin grows, however skewed the rows are."""
    rng = np.random.default_rng(seed)
    drops = rng.exponential(1.0, 400) ** 2 * rng.choice([-1.0, 0.0, 1.0], 400)
    sample = UnitTotals(drops, np.ones(400))
    one, other = (skew_corrected_p_value(sample, m) for m in (margin, margin * factor))
    assert other <= one + 1e-12


def test_a_drop_far_above_the_margin_is_never_held() -> None:
    """Nearly every row loses, with a skewness that fools the quadratic correction."""
    drops = np.ones(1000)
    drops[:3] = -1.0
    assert judge(influence(drops, 500), 0.05).verdict == "broken"


def test_units_without_base_are_left_out() -> None:
    """A unit that weighs nothing takes no part."""
    sample = unit_totals(np.array([1.0, 2.0]), np.array([0.0, 4.0]), None, None)
    assert sample.drops.tolist() == [2.0]
    assert skew_corrected_bound(UnitTotals(np.zeros(9), np.ones(9)), 0.05, 0.3) == 0.3
