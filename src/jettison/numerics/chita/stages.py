"""The loop over stages: fresh rows, one solution, then a look at the real loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jettison.errors import CandidateFailed
from jettison.numerics.chita.blocks import block_path
from jettison.numerics.chita.budgets import Budget
from jettison.numerics.chita.iht import Effort
from jettison.numerics.chita.problem import Problem
from jettison.numerics.chita.schedules import schedule
from jettison.numerics.chita.solver import Solution, path

SHRINKAGE = 0.01
"""Share of a block's mean in the curvature of each weight: few rows give some weights none."""


class Subject(Protocol):
    """A model that is being pruned."""

    def read(self) -> Any:
        """Its prunable weights, shape (p,) of float32."""
        ...

    def write(self, weights: Any) -> None:
        """Puts weights in, and recomputes what depends on them (BatchNorm statistics)."""
        ...

    def problems(self, stage: int) -> Iterator[tuple[slice, Problem]]:
        """Local models of the loss at the current weights, from rows fresh for each stage.

        One over all weights, or in block mode one for each part of the vector, made when asked.
        """
        ...

    def diagonal(self, stage: int) -> Any:
        """The mean curvature of each weight over the rows of `problems`, shape (p,)."""
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
        ridges: given the mean curvature, the ridges per weight of the first stage, from large to
            small; of more than one the held-out loss chooses.
        effort: of the search for a support; 0 rounds keep the largest weights.
        blocks: parts that are solved apart; none solves all weights together, and searches for
            a support.
        saliency: in blocks, weights stay by |w| * sqrt(curvature), not by |w| alone: the loss of a
            weight that is set to zero by itself (LeCun et al., "Optimal brain damage", 1989,
            equation 5).
        radius: factor by which the ridge adapts from stage to stage; 1 keeps it.
    """

    sparsity: float
    budget: Callable[[float], Budget]
    ridges: Callable[[float], tuple[float, ...]]
    stages: int = 1
    first: float = 0.2
    schedule: str = "exponential"
    effort: Effort = field(default_factory=Effort)
    blocks: tuple[slice, ...] = ()
    saliency: bool = False
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
        CandidateFailed: if the loss is not finite before or with any ridge, or a schedule is
            impossible.
    """
    told: list[Stage] = []
    mask: Any = None
    ridges: tuple[float, ...] = ()
    loss = subject.loss()
    if not math.isfinite(loss):
        raise CandidateFailed(
            "the loss on held-out fitting rows is not finite before anything is pruned; look for "
            "NaN, infinite or huge values in the fitting rows"
        )
    first = min(plan.first, plan.sparsity)
    for number, sparsity in enumerate(schedule(plan.schedule, first, plan.sparsity, plan.stages)):
        found = _solutions(subject, plan, number, plan.budget(sparsity), ridges)
        best, new = _best(subject, found)
        if best is None:
            raise CandidateFailed(
                f"the held-out loss is not finite at sparsity {sparsity:.3f} for any ridge that "
                "was tried; give a larger `ridge`, or fewer `stages`"
            )
        subject.write(best.weights)
        mask = best.mask
        told.append(Stage(sparsity, best.ridge, best.predicted, new - loss, new))
        loss = new
        ridges = _around(plan, told[-1])
    return mask, tuple(told)


def _best(subject: Subject, solutions: Iterable[Solution]) -> tuple[Solution | None, float]:
    """The solution with the lowest held-out loss, and that loss."""
    best, lowest = None, math.inf
    for solution in solutions:
        subject.write(solution.weights)
        loss = subject.loss()
        # False for NaN as well.
        if loss < lowest:
            best, lowest = solution, loss
    return best, lowest


def _solutions(
    subject: Subject, plan: Plan, stage: int, budget: Budget, ridges: Sequence[float]
) -> Iterable[Solution]:
    problems = subject.problems(stage)
    part, problem = next(problems)
    chosen = ridges or plan.ridges(problem.rows.mean_curvature())
    if not plan.blocks:
        return path(problem, budget, plan.effort, chosen)
    start = subject.read()
    scores = start.abs()
    if plan.saliency:
        curvature = subject.diagonal(stage)
        for block in plan.blocks:
            curvature[block].lerp_(curvature[block].mean(), SHRINKAGE)
        scores *= curvature.sqrt_()
    mask = budget.mask(scores)
    every = itertools.chain(((part, problem),), problems)
    return block_path(every, start, mask, plan.blocks, chosen)


def _around(plan: Plan, stage: Stage) -> tuple[float, ...]:
    """Around the ridge that was best: larger where the loss rose more than predicted.

    A ridge is the multiplier of a trust radius on |w - start| (Levenberg and Marquardt); it
    learns from the ratio of actual to predicted change as a trust radius does.
    """
    if plan.radius == 1.0:
        return (stage.ridge,)
    worse = stage.actual > stage.predicted + 0.5 * abs(stage.predicted)
    centre = stage.ridge * (plan.radius if worse else 1.0)
    return (centre, centre / plan.radius)
