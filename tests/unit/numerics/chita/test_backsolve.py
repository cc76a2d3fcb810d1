"""The exact weights on a mask, against plain dense algebra."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from jettison.errors import CandidateFailed
from jettison.numerics.chita import Backsolve, Problem, backsolve, block_path, blocks_of

Maker = Callable[..., Problem]


def dense_solution(problem: Problem, mask: torch.Tensor) -> torch.Tensor:
    """Solves the normal equations of Q on the mask in float64, from the definition of Q."""
    a = (problem.rows.values * problem.rows.scales[:, None]).double()
    start = problem.start.double()
    u = torch.zeros(a.shape[0]).double() if problem.offset is None else problem.offset.double()
    c = torch.zeros_like(start) if problem.linear is None else problem.linear.double()
    hessian = a.T @ a + problem.ridge * torch.eye(len(start)).double()
    # Q(w) = 1/2 w^T H w - (H start - A^T u - c)^T w + constant
    right = hessian @ start - a.T @ u - c
    solved = torch.zeros_like(start)
    solved[mask] = torch.linalg.solve(hessian[mask][:, mask], right[mask])
    return solved.float()


@pytest.mark.parametrize(("n", "p"), [(4, 30), (30, 10)])
@pytest.mark.parametrize("first_order", [False, True])
def test_equals_the_dense_solution(problem: Maker, n: int, p: int, first_order: bool) -> None:
    """By rows (Woodbury) where rows are few, by columns where they are many: the same answer."""
    made = problem(3, n, p, ridge=0.05, first_order=first_order)
    mask = torch.arange(p) % 3 != 0
    found = backsolve(made, mask)
    torch.testing.assert_close(found, dense_solution(made, mask), rtol=1e-4, atol=1e-4)
    assert not found[~mask].any()


def test_one_gram_matrix_serves_a_path_of_ridges(problem: Maker) -> None:
    """Solving again with another ridge gives what a fresh solve with that ridge gives."""
    made = problem(5, 5, 20)
    mask = torch.arange(20) < 12
    shared = Backsolve(made, mask)
    for ridge in (1.0, 0.1, 0.01):
        torch.testing.assert_close(shared.weights(ridge), backsolve(made.with_ridge(ridge), mask))


def test_nothing_kept_gives_zeros(problem: Maker) -> None:
    """An empty mask has one answer."""
    assert not backsolve(problem(), torch.zeros(8, dtype=torch.bool)).any()


def test_a_singular_system_asks_for_a_larger_ridge(problem: Maker) -> None:
    """Without ridge, more rows than their rank can't be solved, and the message says so."""
    made = problem(0, 6, 8, ridge=0.0, first_order=False)
    made.rows.values[:] = made.rows.values[:1]
    with pytest.raises(CandidateFailed, match="larger `ridge`"):
        backsolve(made, torch.ones(8, dtype=torch.bool))


def test_one_block_over_all_weights_is_the_whole_solution(problem: Maker) -> None:
    """Block mode with one block changes nothing; with several it solves each alone."""
    made = problem(7, 5, 12, ridge=0.5)
    mask = torch.arange(12) % 2 == 0
    ridges = (0.1,)
    whole = block_path([(slice(0, 12), made)], made.start, mask, (slice(0, 12),), ridges)[0]
    torch.testing.assert_close(whole.weights, backsolve(made, mask))
    blocks = blocks_of([slice(0, 8), slice(8, 12)], 5)
    assert blocks == (slice(0, 5), slice(5, 8), slice(8, 12))
    parts = block_path([(slice(0, 12), made)], made.start, mask, blocks, ridges)[0]
    for block in blocks:
        alone = made.restricted(block)
        torch.testing.assert_close(parts.weights[block], dense_solution(alone, mask[block]))
