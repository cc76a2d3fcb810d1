"""One stage: mask and weights for one quadratic model. Importing this file imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jettison.numerics.chita.backsolve import Backsolve
from jettison.numerics.chita.budgets import Budget
from jettison.numerics.chita.iht import Effort, improve
from jettison.numerics.chita.problem import Problem

MAGNITUDE = Effort(rounds=0)
"""Keeps the largest weights and solves for their values."""


@dataclass(frozen=True, slots=True)
class Solution:
    """What a stage found.

    Attributes:
        weights: shape (p,), zero outside of the mask.
        mask: bool of shape (p,).
        ridge: per weight, that it was found with.
        predicted: change of the mean loss that the quadratic model expects.
    """

    weights: Any
    mask: Any
    ridge: float
    predicted: float


def magnitude_mask(problem: Problem, budget: Budget) -> Any:
    """The mask of the largest weights, columns without gradient dropped first, bool (p,)."""
    scores = problem.start.abs()
    return budget.mask(torch.where(problem.rows.dead(), -torch.ones_like(scores), scores))


def solve(problem: Problem, budget: Budget, effort: Effort) -> Solution:
    """Searches the support from the largest weights on, then solves exactly on it."""
    return next(path(problem, budget, effort, (problem.ridge / problem.rows.n,)))


def path(
    problem: Problem, budget: Budget, effort: Effort, ridges: Sequence[float]
) -> Iterator[Solution]:
    """One solution for each ridge, each started from the one before.

    Where the support does not change from one ridge to the next, its Gram matrix is used again.

    Args:
        problem: its own ridge is not used.
        budget: which masks are allowed.
        effort: how long to search; with 0 rounds all ridges share one Gram matrix.
        ridges: per weight; from large to small is the stable order.
    """
    mask = magnitude_mask(problem, budget)
    exact: Backsolve | None = None
    for ridge in ridges:
        here = problem.with_ridge(ridge * problem.rows.n)
        if exact is None:
            exact = Backsolve(problem, mask)
        weights = exact.weights(here.ridge)
        if effort.rounds:
            found, _ = improve(here, budget, (weights, mask), effort)
            if not torch.equal(found.mask, mask):
                mask = found.mask
                exact = Backsolve(problem, mask)
                weights = exact.weights(here.ridge)
        predicted = here.predicted(weights, here.value(weights))
        yield Solution(weights, mask, ridge, predicted)
