"""Weights and resampling by group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.domain.splits import Labels
from jettison.errors import CandidateFailed
from jettison.numerics.balancing import equal_shares, group_cells, resampled, reweighed

FEW = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), min_size=2, max_size=60)


@settings(max_examples=80, deadline=None)
@given(FEW)
def test_reweighing_makes_group_and_class_independent(rows: list[tuple[str, int]]) -> None:
    """With every cell present, the weighted rate of each class is the same in every group."""
    cells, targets = np.array([g for g, _ in rows]), np.array([y for _, y in rows])
    weights = reweighed(cells, targets)
    if len(set(rows)) < len(set(cells)) * len(set(targets.tolist())):
        return
    for value in set(targets.tolist()):
        whole = (targets == value).mean()
        for name in set(cells):
            mine = cells == name
            rate = weights[mine & (targets == value)].sum() / weights[mine].sum()
            assert rate == pytest.approx(whole)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.integers(1, 100), st.integers(0, 9))
def test_each_row_is_drawn_about_its_share(shares: list[float], n: int, seed: int) -> None:
    """A row of share s comes floor(n s) or ceil(n s) times."""
    given_shares = np.array(shares)
    if given_shares.sum() <= 1e-6:
        return
    drawn = resampled(given_shares, n, seed)
    expected = n * given_shares / given_shares.sum()
    counts = np.bincount(drawn, minlength=len(shares))
    assert counts.sum() == n
    assert (np.abs(counts - expected) < 1 + 1e-6).all()


def test_every_group_gets_the_same_sum_and_keeps_its_weights() -> None:
    """Inside a group the ratio of two rows stays."""
    cells = np.array(list("aaab"))
    shares = equal_shares(cells, np.array([1.0, 2.0, 1.0, 5.0]))
    assert shares.tolist() == [0.125, 0.25, 0.125, 0.5]


def test_what_can_not_be_balanced_is_refused() -> None:
    """No groups, one group, an unknown column, weights of zero: each says what to do."""
    groups = {"sex": np.array(["f", "m"]), "site": np.array(["x", "x"])}
    with pytest.raises(CandidateFailed, match="no groups"):
        group_cells(Labels(np.array([0, 1])))
    with pytest.raises(CandidateFailed, match="one group"):
        group_cells(Labels(None, groups), ("site",))
    with pytest.raises(CandidateFailed, match="`age` is not a column"):
        group_cells(Labels(None, groups), ("age",))
    assert group_cells(Labels(None, groups)).tolist() == ["f & x", "m & x"]
    with pytest.raises(CandidateFailed, match="all fitting rows of `b` are 0"):
        equal_shares(np.array(["a", "b"]), np.array([1.0, 0.0]))
    with pytest.raises(CandidateFailed, match="`b, class 1` are 0"):
        reweighed(np.array(["a", "b"]), np.array([0, 1]), np.array([1.0, 0.0]))
