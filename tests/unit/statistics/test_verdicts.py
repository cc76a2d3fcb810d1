"""`judge`: one door to every test, and no way to a verdict that the rows don't support."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.statistics import Paired, judge
from jettison.statistics.verdicts import Kind


def paired_counts(b: int, c: int, n: int, **changes: object) -> Paired:
    """Builds 0/1 rows of which b were lost and c were won."""
    baseline, candidate = np.ones(n), np.ones(n)
    candidate[:b] = 0
    baseline[b : b + c] = 0
    return Paired(baseline, candidate, "binary", **changes)  # type: ignore[arg-type]


def test_three_verdicts_of_a_binary_metric() -> None:
    """Few losses are held, some are undecided, many are broken."""
    verdicts = [judge(paired_counts(b, 2, 1000), 0.01).verdict for b in (3, 9, 40)]
    assert verdicts == ["held", "undecided", "broken"]


def test_only_undecided_asks_for_rows() -> None:
    """Rows needed exceed the rows held when undecided, and are 0 when decided."""
    needed = [judge(paired_counts(b, 2, 1000), 0.01).rows_needed for b in (3, 9, 40)]
    assert needed[0] == needed[2] == 0
    assert needed[1] > 1000


@pytest.mark.parametrize("against_reference", [False, True])
@pytest.mark.parametrize("b", [0, 3, 6, 9, 30])
def test_the_bound_is_below_the_margin_exactly_when_held(b: int, against_reference: bool) -> None:
    """A held claim has its certifiable tolerance within the margin, any other beyond it."""
    judgement = judge(paired_counts(b, 0, 1200, against_reference=against_reference), 0.01)
    assert judgement.bound is not None
    assert (judgement.verdict == "held") == (judgement.bound <= 0.01)


def test_a_margin_at_the_bound_is_held() -> None:
    """Asking again for the certifiable tolerance itself is held."""
    paired = paired_counts(12, 7, 900)
    bound = judge(paired, 0.01).bound
    assert bound is not None
    assert judge(paired, bound).verdict == "held"
    assert judge(paired, bound * 0.99).verdict == "undecided"


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["binary", "bounded_mean"]), st.booleans())
def test_the_order_of_rows_and_the_names_of_units_do_not_matter(
    seed: int, kind: Kind, with_units: bool
) -> None:
    """Shuffled rows with renamed units give the same judgement to the last digit."""
    rng = np.random.default_rng(seed)
    n = 700
    baseline, candidate = rng.integers(0, 2, n), rng.integers(0, 2, n)
    units = rng.integers(0, 400, n) if with_units else None
    weights = rng.uniform(0.5, 2.0, n) if with_units else None
    order = rng.permutation(n)
    names = None if units is None else [f"author {u}" for u in units[order]]
    one = Paired(baseline, candidate, kind, units, weights)
    other = Paired(
        baseline[order],
        candidate[order],
        kind,
        names,
        None if weights is None else weights[order],
    )
    assert judge(one, 0.1) == judge(other, 0.1)


def test_lower_is_better_mirrors_higher_is_better() -> None:
    """An error indicator gives the verdict of the accuracy that it mirrors."""
    right = paired_counts(9, 4, 800)
    wrong = Paired(1 - right.baseline, 1 - right.candidate, "binary", better="lower")
    assert judge(right, 0.02) == judge(wrong, 0.02)


def test_a_unit_with_several_rows_lowers_the_grade() -> None:
    """Rows that share a unit are tested by unit means at grade B; single rows at grade A."""
    alone = paired_counts(3, 3, 900, units=list(range(900)))
    shared = paired_counts(3, 3, 900, units=[i // 2 for i in range(900)])
    assert (judge(alone, 0.03).grade, judge(shared, 0.03).grade) == ("A", "B")
    assert judge(shared, 0.03).n == 450


def test_equal_weights_are_no_weights() -> None:
    """Weights that are all alike leave the exact test in place; unequal ones do not."""
    equal = paired_counts(3, 3, 900, weights=np.full(900, 2.5))
    unequal = paired_counts(3, 3, 900, weights=np.linspace(1, 2, 900))
    assert judge(equal, 0.02) == judge(paired_counts(3, 3, 900), 0.02)
    assert judge(unequal, 0.02).grade == "B"


def test_a_few_heavy_rows_do_not_count_as_many() -> None:
    """Rows whose weight sits on a few of them fall below the minimum of effective units."""
    weights = np.full(2000, 1e-3)
    weights[:50] = 100.0
    judgement = judge(paired_counts(0, 0, 2000, weights=weights), 0.05)
    assert judgement.verdict == "undecided"
    assert "50 units" in judgement.reason


@pytest.mark.parametrize("kind", ["binary", "bounded_mean", "reported_only"])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_group_of_almost_no_rows_is_undecided(kind: Kind, rows: int) -> None:
    """No kind of metric is held or broken on 0, 1 or 3 rows at a small margin."""
    judgement = judge(Paired(np.ones(rows), np.ones(rows), kind), 0.05)
    assert judgement.verdict == "undecided"
    assert judgement.reason


@pytest.mark.parametrize("kind", ["binary", "bounded_mean", "ratio_of_sums"])
def test_a_missing_number_is_never_good(kind: Kind) -> None:
    """One NaN among a thousand good rows leaves the claim undecided."""
    candidate = np.ones(1000)
    candidate[7] = np.nan
    judgement = judge(Paired(np.ones(1000), candidate, kind), 0.05)
    assert judgement.verdict == "undecided"
    assert "1 of 1000" in judgement.reason


@pytest.mark.parametrize("kind", ["ratio_of_sums", "influence", "reported_only"])
def test_kinds_without_a_test_are_never_held(kind: Kind) -> None:
    """A perfect candidate is still undecided, with grade C, where no test exists."""
    judgement = judge(Paired(np.ones(5000), np.ones(5000), kind), 0.5)
    assert (judgement.verdict, judgement.grade, judgement.estimate) == ("undecided", "C", 0.0)


def test_an_unbounded_mean_is_not_certified() -> None:
    """A mean without finite declared bounds stays undecided however good it looks."""
    paired = Paired(np.zeros(5000), np.zeros(5000), "bounded_mean", high=np.inf, better="lower")
    assert judge(paired, 0.1).verdict == "undecided"


def test_a_value_beyond_its_bounds_is_not_certified() -> None:
    """A contribution outside the declared bounds stops the claim, not the program."""
    candidate = np.zeros(5000)
    candidate[0] = 1.5
    paired = Paired(np.zeros(5000), candidate, "bounded_mean", better="lower")
    assert "beyond its declared bounds" in judge(paired, 0.1).reason


def test_a_bounded_mean_can_be_broken() -> None:
    """A mean that fell by far more than the margin is broken."""
    rng = np.random.default_rng(1)
    baseline = rng.uniform(0.8, 1.0, 600)
    paired = Paired(baseline, baseline - rng.uniform(0.1, 0.2, 600), "bounded_mean")
    assert judge(paired, 0.02).verdict == "broken"


def test_agreement_uses_the_exact_binomial() -> None:
    """Against the baseline itself, disagreements are counted, and 299 clean rows hold 1 %."""
    held = judge(paired_counts(0, 0, 299, against_reference=True), 0.01)
    assert (held.verdict, held.grade) == ("held", "A")
    assert held.p_value == pytest.approx(0.99**299)
    broken = judge(paired_counts(30, 0, 1000, against_reference=True), 0.01)
    assert broken.verdict == "broken"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidate": np.ones(3)}, "shape"),
        ({"units": [1, 2]}, "length"),
        ({"weights": np.ones(9)}, "shape"),
        ({"kind": "median"}, "kind"),
        ({"better": "more"}, "better"),
        ({"low": 2.0}, "low"),
        ({"candidate": np.full(4, 0.5)}, "0 or 1"),
        ({"baseline": np.zeros(4), "against_reference": True}, "best value"),
    ],
)
def test_mistakes_in_the_call_are_named(changes: dict[str, object], message: str) -> None:
    """Wrong shapes, kinds, bounds and values raise `ValueError` with the field's name."""
    fields: dict[str, object] = {
        "baseline": np.ones(4),
        "candidate": np.ones(4),
        "kind": "binary",
    }
    with pytest.raises(ValueError, match=message):
        Paired(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.05), (1.0, 0.05), (0.1, 0.0), (0.1, 0.5)])
def test_margins_and_error_rates_out_of_range_are_refused(margin: float, alpha: float) -> None:
    """A margin of 0 or 100 %, or an alpha of 0 or one half, raises `ValueError`."""
    with pytest.raises(ValueError, match=r"margin|alpha"):
        judge(paired_counts(0, 0, 500), margin, alpha)
