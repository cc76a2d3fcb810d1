"""Iterative hard thresholding with exact steps on an active set. Importing this imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from jettison.numerics.chita.active import Active
from jettison.numerics.chita.budgets import Budget
from jettison.numerics.chita.problem import Problem


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to search.

    Attributes:
        rounds: times that the active set is chosen anew; 0 leaves the support as it is.
        steps: steps within each active set.
        widen: size of the active set, in multiples of the weights that stay.
        tries: doublings of a step, and halvings of a safe one.
        tolerance: relative change of Q below which the search ends.
    """

    rounds: int = 6
    steps: int = 40
    widen: float = 1.5
    tries: int = 5
    tolerance: float = 1e-7


@dataclass(slots=True)
class Point:
    """Weights on a mask, their residual A d + u, and Q."""

    weights: Any
    mask: Any
    residual: Any
    value: float


class Search:
    """Steps of w+ = P(w - t * gradient) that never raise Q (Benbaki et al., section 3.2).

    Args:
        problem: to minimise.
        budget: which masks are allowed.
        dead: bool of shape (p,): columns without gradient, dropped before any other weight.
        effort: how long to search.
    """

    def __init__(self, problem: Problem, budget: Budget, dead: Any, effort: Effort) -> None:
        self.problem = problem
        self.budget = budget
        self.effort = effort
        self._dead = dead
        self.history: list[float] = []

    def at(self, weights: Any, mask: Any) -> Point:
        """A point from weights of shape (p,) that are zero outside of the mask."""
        residual = self.problem.residual(weights)
        return Point(weights, mask, residual, self.problem.value(weights, residual))

    def run(self, point: Point) -> Point:
        """Searches from a point on; each value in `history` is at most the one before."""
        self.history.append(point.value)
        for _ in range(self.effort.rounds):
            before = point.value
            slope = self.problem.gradient(point.weights, point.residual)
            active = Active(self.problem, self._active_mask(point, slope))
            point = self._inside(point, active)
            point = self._everywhere(point)
            if before - point.value <= self.effort.tolerance * max(1e-12, abs(before)):
                break
        return point

    def _active_mask(self, point: Point, slope: Any) -> Any:
        """The kept weights, and those that one long step would bring in."""
        step = self._exact_step(point, slope, None)
        moved = (point.weights - step * slope).abs()
        scores = torch.where(self._dead, -torch.ones_like(moved), moved)
        wide = int(self.effort.widen * int(point.mask.sum()))
        chosen = torch.zeros_like(point.mask)
        chosen[torch.topk(scores, min(wide, len(scores))).indices] = True
        return (chosen | self.budget.mask(scores) | point.mask) & ~self._dead

    def _inside(self, point: Point, active: Active) -> Point:
        """Steps on the active columns alone."""
        for _ in range(self.effort.steps):
            slope = active.gradient(point.weights, point.residual)
            new = self._step(point, slope, active)
            fell = point.value - new.value
            if fell <= 0.0:
                break
            point = new
            self.history.append(point.value)
            if fell <= self.effort.tolerance * max(1e-12, abs(point.value)):
                break
        return point

    def _step(self, point: Point, slope: Any, active: Active) -> Point:
        """The best of the exact step on the support and projected steps that double."""
        exact = self._exact_step(point, slope, active)
        plain = self._moved(point, slope * point.mask, exact, active)
        first = critical_step(point.weights, slope, point.mask & active.mask, self.budget)
        if first is not None and exact < first:
            return plain
        # A kept weight that is zero makes the critical step zero, which doubling can't leave.
        best, step = plain, exact if first is None else max(first, exact / 2**self.effort.tries)
        for _ in range(self.effort.tries):
            new = self._projected(point, slope, step, active)
            if new.value >= best.value and step > exact:
                break
            best = min(best, new, key=lambda one: one.value)
            step *= 2.0
        return best

    def _everywhere(self, point: Point) -> Point:
        """Full-space steps that grow from a safe one: lets weights outside the active set in."""
        slope = self.problem.gradient(point.weights, point.residual)
        step = self._exact_step(point, slope, None)
        best = point
        for _ in range(self.effort.tries):
            new = self._projected(point, slope, step, None)
            if new.value < best.value:
                best = new
            step *= 2.0
        if best is not point:
            self.history.append(best.value)
        return best

    def _exact_step(self, point: Point, slope: Any, active: Active | None) -> float:
        """The step of steepest descent on the support that minimises Q along it."""
        inner = slope * point.mask
        squared = float(inner.double().square().sum())
        if squared == 0.0:
            inner, squared = slope, float(slope.double().square().sum())
        if squared == 0.0:
            return 0.0
        product = self.problem.rows.times(inner) if active is None else active.times(inner)
        return squared / (float(product.double().square().sum()) + self.problem.ridge * squared)

    def _projected(self, point: Point, slope: Any, step: float, active: Active | None) -> Point:
        moved = point.weights - step * slope
        scores = moved.abs()
        outside = self._dead if active is None else self._dead | ~active.mask
        # Dropped first, unless nothing else is left; kept dead weights stay what they were.
        scores = torch.where(outside & ~(point.mask & self._dead), -torch.ones_like(scores), scores)
        scores = torch.where(point.mask & self._dead, torch.zeros_like(scores), scores)
        mask = self.budget.mask(scores)
        return self._arrive(point, moved * mask, mask, active)

    def _moved(self, point: Point, slope: Any, step: float, active: Active | None) -> Point:
        return self._arrive(point, point.weights - step * slope, point.mask, active)

    def _arrive(self, point: Point, weights: Any, mask: Any, active: Active | None) -> Point:
        change = weights - point.weights
        product = self.problem.rows.times(change) if active is None else active.times(change)
        residual = point.residual + product
        return Point(weights, mask, residual, self.problem.value(weights, residual))


def critical_step(weights: Any, slope: Any, mask: Any, budget: Budget) -> float | None:
    """The largest step along -slope before the set of largest weights changes.

    In each group it is min over kept i of |w_i| / (sign(w_i) g_i + max over dropped j of |g_j|)
    where the denominator is positive (Benbaki et al., section 3.2); `None` if the budget has no
    such groups.
    """
    groups = budget.groups()
    if groups is None:
        return None
    steps = []
    for part in groups:
        inside, kept, g = mask[part], weights[part], slope[part]
        outside = torch.where(inside, torch.zeros_like(g), g.abs())
        pull = torch.sign(kept) * g + (outside.max() if len(outside) else 0.0)
        counted = inside & (pull > 0.0)
        ratio = torch.where(counted, kept.abs() / pull, torch.full_like(g, torch.inf))
        steps.append(ratio.min() if len(ratio) else torch.tensor(torch.inf))
    return float(torch.stack(steps).min())


def improve(
    problem: Problem, budget: Budget, start: tuple[Any, Any], effort: Effort
) -> tuple[Point, tuple[float, ...]]:
    """Searches for a better support and weights on it.

    Args:
        problem: to minimise.
        budget: which masks are allowed.
        start: weights of shape (p,), zero outside of their mask, and the mask.
        effort: how long to search.

    Returns:
        The point found, and Q after each accepted step: it never rises.
    """
    search = Search(problem, budget, problem.rows.dead(), effort)
    found = search.run(search.at(*start))
    return found, tuple(search.history)
