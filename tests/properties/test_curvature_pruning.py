"""What holds of pruning by curvature for any problem."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.numerics.chita import Effort, LargestOverall, Problem, backsolve, improve, solve
from jettison.numerics.chita.solver import MAGNITUDE
from jettison.numerics.curvature import FisherRows

QUICK = Effort(rounds=2, steps=6)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Problem, int]:
    """A random problem of any shape, with columns without gradient, and a number to keep."""
    n, p = draw(st.integers(1, 12)), draw(st.integers(2, 30))
    order = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    matrix = torch.randn((n, p), generator=order) * 10.0 ** draw(st.floats(-3, 2))
    matrix[:, torch.rand(p, generator=order) < draw(st.floats(0, 0.5))] = 0.0
    start = torch.randn(p, generator=order)
    rows = FisherRows.of(matrix, samples=draw(st.integers(1, 16)))
    ridge = 10.0 ** draw(st.floats(-3, 2)) * max(1e-6, rows.mean_curvature()) * n
    offset = torch.randn(n, generator=order) if draw(st.booleans()) else None
    return Problem(rows, start, ridge, offset), draw(st.integers(0, p))


@settings(max_examples=40)
@given(problems())
def test_budgets_hold_and_the_objective_never_rises(made: tuple[Problem, int]) -> None:
    """Exactly as many weights stay as asked; others are zero; each step is at least as good."""
    problem, keep = made
    found = solve(problem, LargestOverall(keep), QUICK)
    assert int(found.mask.sum()) == keep
    assert not found.weights[~found.mask].any()
    assert torch.isfinite(found.weights).all()
    start = problem.start * found.mask
    _, history = improve(problem, LargestOverall(keep), (start, found.mask), QUICK)
    slack = 1e-4 * max(1.0, abs(history[0]))
    assert all(b <= a + slack for a, b in itertools.pairwise(history))


@settings(max_examples=40)
@given(problems())
def test_no_change_on_the_mask_beats_the_exact_solution(made: tuple[Problem, int]) -> None:
    """Nearby weights on the same mask have a higher objective, and so has plain magnitude."""
    problem, keep = made
    mask = solve(problem, LargestOverall(keep), MAGNITUDE).mask
    exact = backsolve(problem, mask)
    value = problem.value(exact)
    slack = 1e-3 * max(1.0, abs(value), problem.value(problem.start * mask))
    assert value <= problem.value(problem.start * mask) + slack
    order = torch.Generator().manual_seed(0)
    for size in (1e-2, 1.0):
        moved = exact + size * torch.randn(len(mask), generator=order) * mask
        assert problem.value(moved) >= value - slack
