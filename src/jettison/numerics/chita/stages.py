"""The loop over stages: fresh rows, one solution, then a look at the real loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jettison.errors import CandidateFailed
from jettison.numerics.chita.blocks import block_backsolve
from jettison.numerics.chita.budgets import Budget
from jettison.numerics.chita.iht import Effort
from jettison.numerics.chita.problem import Problem
from jettison.numerics.chita.schedules import schedule
from jettison.numerics.chita.solver import Solution, magnitude_mask, path

RIDGES = (1e-1, 1e-2, 1e-3, 1e-4)
"""Ridges that are tried where none is given, in multiples of the mean curvature... see `Plan`."""


class Subject(Protocol):
    """A model that is being pruned."""

    def read(self) -> Any:
        """Its prunable weights, shape (p,) of float32."""
        ...

    def write(self, weights: Any) -> None:
        """Puts weights in, and recomputes what depends on them (BatchNorm statistics)."""
        ...

    def problem(self, stage: int) -> Problem:
        """The local model of the loss at the current weights, from rows fresh for each stage."""
        ...

    def loss(self) -> float:
        """The mean loss on rows that are held out from fitting."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How to prune.

    Attributes:
        sparsity: share of zeros at the end.
        budget: the allowed masks at a sparsity.
        stages: number of stages; 1 is single-stage.
        first: sparsity of the first stage.
        schedule: name, see `schedule`.
        ridges: per weight, from large to small; more than one: chosen by the held-out loss.
        effort: of the search for a support; 0 rounds keep the largest weights.
        blocks: parts that are solved apart; none solves all weights together.
        radius: factor by which the ridge adapts from stage to stage; 1 keeps it.
    """

    sparsity: float
    budget: Callable[[float], Budget]
    stages: int = 1
    first: float = 0.2
    schedule: str = "exponential"
    ridges: tuple[float, ...] = (1e-3,)
    effort: Effort = field(default_factory=Effort)
    blocks: tuple[slice, ...] = ()
    radius: float = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What happened in one stage.

    Attributes:
        sparsity: aimed at.
        ridge: per weight, that was chosen.
        predicted: change of the loss that the quadratic model expects.
        actual: change of the held-out loss.
        loss: held-out loss afterwards.
    """

    sparsity: float
    ridge: float
    predicted: float
    actual: float
    loss: float


def prune(subject: Subject, plan: Plan) -> tuple[Any, tuple[Stage, ...]]:
    """Prunes in stages; the subject ends with the final weights.

    Returns:
        The final mask, bool of shape (p,), and what happened in each stage.

    Raises:
        CandidateFailed: if no ridge gives a finite loss, or a schedule is impossible.
    """
    told: list[Stage] = []
    ridges = plan.ridges
    mask: Any = None
    loss = subject.loss()
    first = min(plan.first, plan.sparsity)
    for number, sparsity in enumerate(schedule(plan.schedule, first, plan.sparsity, plan.stages)):
        problem = subject.problem(number)
        mask, stage = _stage(subject, plan, problem, (sparsity, loss), ridges)
        told.append(stage)
        loss = stage.loss
        ridges = _next_ridges(plan, stage)
    return mask, tuple(told)


def _stage(
    subject: Subject,
    plan: Plan,
    problem: Problem,
    before: tuple[float, float],
    ridges: Sequence[float],
) -> tuple[Any, Stage]:
    sparsity, loss = before
    best: tuple[float, Solution] | None = None
    for solution in _solutions(plan, problem, plan.budget(sparsity), ridges):
        subject.write(solution.weights)
        found = subject.loss()
        if math.isfinite(found) and (best is None or found < best[0]):
            best = (found, solution)
    if best is None:
        raise CandidateFailed(
            f"the held-out loss is not finite at sparsity {sparsity:.3f} for any ridge of "
            f"{', '.join(f'{ridge:.3g}' for ridge in ridges)}; give a larger `ridge`"
        )
    subject.write(best[1].weights)
    predicted = problem.predicted_loss_change(best[1].weights)
    ridge = best[1].ridge / problem.rows.n
    return best[1].mask, Stage(sparsity, ridge, predicted, best[0] - loss, best[0])


def _solutions(plan: Plan, problem: Problem, budget: Budget, ridges: Sequence[float]) -> Any:
    scaled = [ridge * problem.rows.n for ridge in ridges]
    if not plan.blocks:
        yield from path(problem, budget, plan.effort, scaled)
        return
    mask = magnitude_mask(problem, budget)
    found = block_backsolve(problem, mask, plan.blocks, scaled)
    for ridge, weights in zip(scaled, found, strict=True):
        yield Solution(weights, mask, ridge, problem.with_ridge(ridge).value(weights))


def _next_ridges(plan: Plan, stage: Stage) -> tuple[float, ...]:
    """Around the ridge that was best: larger where the loss rose more than predicted.

    A ridge is the multiplier of a trust radius on |w - start| (Levenberg and Marquardt); it
    learns from the ratio of actual to predicted change as a trust radius does.
    """
    if plan.radius == 1.0:
        return (stage.ridge,)
    worse = stage.actual > stage.predicted + 0.5 * abs(stage.predicted)
    centre = stage.ridge * (plan.radius if worse else 1.0)
    return (centre, centre / plan.radius)
