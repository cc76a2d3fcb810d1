"""The search for a support: never worse, near the best of all masks, and respectful of budgets."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from jettison.numerics.chita import (
    Effort,
    LargestOverall,
    LargestPerLayer,
    PerGroup,
    Problem,
    backsolve,
    improve,
    solve,
)
from jettison.numerics.chita.iht import critical_step
from jettison.numerics.chita.solver import MAGNITUDE, magnitude_mask
from jettison.numerics.masks import n_of_m

Maker = Callable[..., Problem]


def best_of_all(problem: Problem, keep: int) -> float:
    """The lowest Q over every mask of `keep` weights."""
    p = len(problem.start)
    values = []
    for chosen in itertools.combinations(range(p), keep):
        mask = torch.zeros(p, dtype=torch.bool)
        mask[list(chosen)] = True
        values.append(problem.value(backsolve(problem, mask)))
    return min(values)


def test_finds_nearly_the_best_subset(problem: Maker) -> None:
    """On 20 problems of 8 choose 3: never below the best, never above magnitude, often the best."""
    closed, exact = [], 0
    for seed in range(20):
        made = problem(seed, 12, 8, ridge=0.3)
        best = best_of_all(made, 3)
        by_magnitude = made.value(solve(made, LargestOverall(3), MAGNITUDE).weights)
        found = made.value(solve(made, LargestOverall(3), Effort()).weights)
        assert found >= best - 1e-4
        assert found <= by_magnitude + 1e-4
        exact += found <= best + 1e-4
        if by_magnitude > best + 1e-4:
            closed.append((by_magnitude - found) / (by_magnitude - best))
    assert exact >= 10
    assert sum(closed) / len(closed) > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_q_never_rises(problem: Maker, seed: int) -> None:
    """Every accepted step lowers Q, inside the active set and outside."""
    made = problem(seed, 20, 120, ridge=0.2)
    budget = LargestOverall(15)
    mask = magnitude_mask(made, budget)
    found, history = improve(made, budget, (made.start * mask, mask), Effort())
    assert len(history) > 2
    assert all(b <= a + 1e-5 * abs(a) for a, b in itertools.pairwise(history))
    assert made.value(found.weights) == pytest.approx(found.value, rel=1e-3, abs=1e-3)
    assert not found.weights[~found.mask].any()
    assert int(found.mask.sum()) == 15


def test_columns_that_do_not_fit_give_the_same_answer(problem: Maker) -> None:
    """Without room for the active columns all rows are read instead, to the same end."""
    made = problem(1, 10, 60)
    narrow = Problem(
        type(made.rows)(made.rows.values, made.rows.scales, 2, workspace_bytes=400),
        made.start,
        made.ridge,
        made.offset,
        made.linear,
    )
    wide, tight = (solve(one, LargestOverall(9), Effort()) for one in (made, narrow))
    assert torch.equal(wide.mask, tight.mask)
    torch.testing.assert_close(wide.weights, tight.weights, rtol=1e-3, atol=1e-4)


def test_n_of_m_and_layer_budgets_hold(problem: Maker) -> None:
    """The result keeps 2 of every 4, or the number of each layer."""
    made = problem(2, 10, 24)
    pattern = PerGroup(((2, 8), (2, 4)), (lambda s: n_of_m(s, 2, 4),) * 2)
    mask = solve(made, pattern, Effort()).mask
    assert mask.reshape(6, 4).sum(dim=1).tolist() == [2] * 6
    layers = LargestPerLayer((slice(0, 16), slice(16, 24)), (4, 5))
    mask = solve(made, layers, Effort()).mask
    assert (int(mask[:16].sum()), int(mask[16:].sum())) == (4, 5)


def test_dead_columns_go_first(problem: Maker) -> None:
    """A large weight whose column has no gradient is dropped before any other."""
    made = problem(4, 10, 12)
    made.rows.values[:, :3] = 0.0
    made.start[:3] = 100.0
    assert not solve(made, LargestOverall(9), Effort()).mask[:3].any()
    kept = solve(made, LargestOverall(10), Effort())
    assert int(kept.mask[:3].sum()) == 1


def test_the_critical_step_is_where_the_set_changes(problem: Maker) -> None:
    """Just before it the largest weights are the same, just after they are not."""
    made = problem(6, 10, 20, ridge=0.2)
    budget = LargestOverall(6)
    mask = magnitude_mask(made, budget)
    weights = made.start * mask
    slope = made.gradient(weights, made.residual(weights))
    step = critical_step(weights, slope, mask, budget)
    assert step is not None
    before, after = ((weights - f * step * slope).abs() for f in (0.999, 1.001))
    assert torch.equal(budget.mask(before), mask)
    assert not torch.equal(budget.mask(after), mask)
