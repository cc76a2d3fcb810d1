"""Schedules of sparsity."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import CandidateFailed
from jettison.numerics.chita import SCHEDULES, schedule


@given(
    st.sampled_from(SCHEDULES),
    st.floats(0.0, 0.99),
    st.floats(0.0, 0.99),
    st.integers(1, 25),
)
def test_grows_and_ends_exactly_at_the_target(name: str, a: float, b: float, stages: int) -> None:
    """Whatever the form, sparsity never falls and the last stage is the target to the digit."""
    first, last = sorted((a, b))
    found = schedule(name, first, last, stages)
    assert len(found) == stages
    assert found[-1] == last
    assert all(y >= x - 1e-12 for x, y in itertools.pairwise(found))
    assert all(first - 1e-12 <= s <= last for s in found)


def test_forms() -> None:
    """The forms at three points: halving of what is left, cubic, even steps, even factors."""
    assert schedule("exponential", 0.0, 0.9, 3) == pytest.approx((0.0, 0.6, 0.9))
    assert schedule("polynomial", 0.0, 0.8, 3) == pytest.approx((0.0, 0.7, 0.8))
    assert schedule("linear", 0.2, 0.8, 3) == pytest.approx((0.2, 0.5, 0.8))
    assert schedule("geometric", 0.0, 0.75, 3) == pytest.approx((0.0, 0.5, 0.75))
    assert schedule("constant", 0.2, 0.8, 2) == (0.8, 0.8)


@pytest.mark.parametrize(
    ("name", "first", "last", "stages", "said"),
    [
        ("cosine", 0.1, 0.5, 3, "one of exponential"),
        ("linear", 0.1, 0.5, 0, "at least 1"),
        ("linear", 0.6, 0.5, 3, "must grow"),
        ("linear", 0.1, 1.0, 3, "below 1"),
    ],
)
def test_mistakes(name: str, first: float, last: float, stages: int, said: str) -> None:
    """Unknown names and impossible numbers are told."""
    with pytest.raises(CandidateFailed, match=said):
        schedule(name, first, last, stages)
