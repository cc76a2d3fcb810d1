"""How many channels each group keeps, given what each is worth and what each layer costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Array

__all__ = ["LayerShape", "cost", "keep_widths"]


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one layer costs, and which groups its channels belong to.

    Attributes:
        cost: at full width, in any unit (multiply-accumulates).
        axes: of its outputs and of its inputs, index of a group -> the part of the axis that belongs
            to it (1 where one group is the whole; less where several are concatenated). The cost
            is proportional to what is kept of each axis.
    """

    cost: float
    axes: tuple[Mapping[int, float], ...]


def cost(layers: Sequence[LayerShape], kept: Sequence[int], full: Sequence[int]) -> float:
    """The cost of all layers when each group keeps `kept` of `full` units."""
    total = 0.0
    for layer in layers:
        share = layer.cost
        for axis in layer.axes:
            stays = sum(part * kept[group] / full[group] for group, part in axis.items())
            share *= stays + (1.0 - sum(axis.values()))
        total += share
    return total


def keep_widths(
    scores: Sequence[Array],
    layers: Sequence[LayerShape],
    share: float,
    steps: Sequence[int],
    floor: float = 0.1,
) -> tuple[int, ...]:
    """Chooses the widths that keep the best units at no more than a share of the cost.

    One threshold over all units is lowered until the cost fits; widths are rounded to multiples
    of their step, and what rounding left of the budget is given back to the groups whose next
    units are worth most.

    Args:
        scores: one array for each group, shape (units,): what is lost without the unit. They must
            be comparable between groups.
        layers: what the widths cost.
        share: of the cost to keep, between 0 and 1.
        steps: for each group, the multiple that its width is rounded to.
        floor: the smallest share of its units that a group keeps (one step at least).

    Returns:
        The number of units that each group keeps. Where even the smallest widths cost more than
        `share`, the smallest widths.
    """
    full = [len(values) for values in scores]
    least = [_rounded(floor * n, n, step) for n, step in zip(full, steps, strict=True)]
    budget = share * cost(layers, full, full)
    order = np.sort(np.concatenate([np.asarray(values, float) for values in scores]))
    low, high = 0, len(order)
    best = least
    while low < high:
        middle = (low + high) // 2
        tried = _above(order[middle], scores, steps, least)
        if cost(layers, tried, full) <= budget:
            best, high = tried, middle
        else:
            low = middle + 1
    return tuple(_spend_rest(best, scores, layers, steps, budget))


def _above(
    threshold: float, scores: Sequence[Array], steps: Sequence[int], least: Sequence[int]
) -> list[int]:
    return [
        max(small, _rounded(float((np.asarray(values) > threshold).sum()), len(values), step))
        for values, step, small in zip(scores, steps, least, strict=True)
    ]


def _rounded(units: float, full: int, step: int) -> int:
    """The nearest multiple of `step`, at least one step (or all, where there are fewer)."""
    return min(full, max(step, round(units / step) * step))


def _spend_rest(
    kept: Sequence[int],
    scores: Sequence[Array],
    layers: Sequence[LayerShape],
    steps: Sequence[int],
    budget: float,
) -> list[int]:
    full = [len(values) for values in scores]
    best = [np.sort(np.asarray(values, float))[::-1] for values in scores]
    widths = list(kept)
    while True:
        offers = []
        spent = cost(layers, widths, full)
        for group, step in enumerate(steps):
            wider = min(full[group], widths[group] + step)
            if wider == widths[group]:
                continue
            tried = [*widths[:group], wider, *widths[group + 1 :]]
            extra = cost(layers, tried, full) - spent
            if spent + extra <= budget:
                worth = float(best[group][widths[group] : wider].sum())
                offers.append((worth / max(extra, 1e-30), -group, wider))
        if not offers:
            return widths
        _, group, wider = max(offers)
        widths[-group] = wider
