"""Projections onto masks: exact counts, ties by place, n:m with remainders, bounds."""

from __future__ import annotations

import pytest
import torch

from jettison.errors import CandidateFailed
from jettison.numerics import masks


@pytest.mark.parametrize("keep", [0, 1, 7, 11, 12])
def test_exactly_as_many_as_asked_are_kept(keep: int) -> None:
    """Keeps the asked number, and no weight that is smaller than one set to zero."""
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    mask = masks.largest(scores, keep)
    assert mask.shape == scores.shape
    assert int(mask.sum()) == keep
    if 0 < keep < 12:
        assert scores[mask].min() > scores[~mask].max()


def test_ties_go_to_the_first() -> None:
    """Of equal scores the earlier ones are kept, whatever else is in the tensor."""
    assert masks.largest(torch.tensor([1.0, 0.0, 1.0, 2.0, 1.0]), 3).tolist() == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert masks.largest_per_row(torch.zeros(2, 3), 2).tolist() == [[True, True, False]] * 2


def test_all_equal_scores_still_give_exact_counts() -> None:
    """A layer of zeros is cut at the asked number, in order."""
    mask = masks.largest(torch.zeros(1000), 400)
    assert mask[:400].all()
    assert not mask[400:].any()


def test_one_scale_over_several_tensors() -> None:
    """A global budget takes the largest wherever they are; ties go to the earlier tensor."""
    small, large = torch.tensor([0.1, 0.5]), torch.tensor([[0.5, 3.0], [4.0, 0.2]])
    first, second = masks.largest_of_all([small, large], 3)
    assert first.tolist() == [False, True]
    assert second.tolist() == [[False, True], [True, False]]


def test_minus_infinity_ranks_last() -> None:
    """Scores of minus infinity mark weights that go first."""
    mask = masks.largest(torch.tensor([-torch.inf, 1.0, -torch.inf, 0.0]), 2)
    assert mask.tolist() == [False, True, False, True]


@pytest.mark.parametrize(("n", "m", "columns"), [(2, 4, 8), (4, 8, 16), (1, 3, 9)])
def test_every_group_keeps_n_of_m(n: int, m: int, columns: int) -> None:
    """Each group of m keeps its n largest."""
    scores = torch.rand(5, columns, generator=torch.Generator().manual_seed(2))
    groups = masks.n_of_m(scores, n, m).view(5, -1, m)
    assert (groups.sum(-1) == n).all()
    kept = torch.where(groups, scores.view(5, -1, m), torch.inf).amin(-1)
    gone = torch.where(groups, -torch.inf, scores.view(5, -1, m)).amax(-1)
    assert (kept > gone).all()


@pytest.mark.parametrize(("columns", "kept"), [(1, 1), (2, 2), (3, 2), (5, 3), (6, 4), (7, 4)])
def test_a_remainder_is_padded_with_zeros(columns: int, kept: int) -> None:
    """The last r columns keep min(2, r), as if zeros stood after them."""
    mask = masks.n_of_m(-torch.rand(3, columns), 2, 4)
    assert mask.shape == (3, columns)
    assert (mask.sum(-1) == kept).all()


@pytest.mark.parametrize("sparsity", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_sparsity_out_of_range_is_refused(sparsity: float) -> None:
    """0, 1 and everything outside names the value and what is allowed."""
    with pytest.raises(CandidateFailed, match=r"`sparsity` is .*above 0 and below 1"):
        masks.check_sparsity(sparsity)


def test_counts_are_the_nearest_whole_number() -> None:
    """A share of weights becomes a number of weights by rounding."""
    assert masks.pruned_count(1000, 0.9) == 900
    assert masks.pruned_count(7, 0.5) in (3, 4)
    assert masks.pruned_count(3, 0.01) == 0


@pytest.mark.parametrize("text", ["4:2", "2:2", "0:4", "half", "2:", ":4", "", "-1:4"])
def test_patterns_that_are_none(text: str) -> None:
    """A pattern that can't be kept is refused with an example."""
    with pytest.raises(CandidateFailed, match="such as `2:4`"):
        masks.pattern_of(text)


def test_patterns_are_read() -> None:
    """`unstructured` and n:m are read."""
    assert [masks.pattern_of(text) for text in masks.PATTERNS] == [None, (2, 4), (4, 8)]


def test_nan_scores_are_refused() -> None:
    """Scores without an order say how many are NaN."""
    for project in (masks.largest, masks.largest_per_row):
        with pytest.raises(CandidateFailed, match="1 of 4 scores of weights are NaN"):
            project(torch.tensor([[0.0, 1.0, torch.nan, 2.0]]), 2)
    with pytest.raises(CandidateFailed, match="NaN"):
        masks.n_of_m(torch.full((1, 4), torch.nan), 2, 4)


def test_more_than_there_are_is_refused() -> None:
    """A number of weights to keep beyond the tensor's is refused."""
    with pytest.raises(CandidateFailed, match="5 weights can't be kept of 4"):
        masks.largest(torch.zeros(4), 5)
