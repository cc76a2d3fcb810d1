"""Which layers to leave in float: the most sensitivity removed for a share of the time saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BUCKETS = 1000
"""Steps of the budget; costs are rounded up to them, so that the budget is never exceeded."""

TRIES = 6
"""Choices that are measured as a whole before none is made."""


@dataclass(frozen=True, slots=True)
class Item:
    """A layer that may stay in float.

    Attributes:
        name: of the layer.
        worth: what the model loses by this layer in 8 bits.
        cost: time that 8 bits save here, in any unit; zero or less where float is as fast.
    """

    name: str
    worth: float
    cost: float


def spared_by_knapsack(items: Sequence[Item], budget: float) -> tuple[str, ...]:
    """Chooses layers whose worth sums to the most, for at most a budget.

    0/1 knapsack by dynamic programming. A layer that costs nothing is chosen if it is worth
    anything; of equal worth, the cheaper choice wins.

    Args:
        items: in the order of the graph, which the answer keeps.
        budget: the sum of positive costs that may be given up.

    >>> spared_by_knapsack([Item("a", 5, 10), Item("b", 4, 5), Item("c", 3, 5)], 10)
    ('b', 'c')
    """
    free = {item.name for item in items if item.cost <= 0.0 < item.worth}
    priced = [item for item in items if item.cost > 0.0 < item.worth]
    if not priced or budget <= 0.0:
        return tuple(item.name for item in items if item.name in free)
    prices = [int(np.ceil(BUCKETS * item.cost / budget - 1e-9)) for item in priced]
    best = np.zeros(BUCKETS + 1)
    taken = np.zeros((len(priced), BUCKETS + 1), dtype=bool)
    for place, (item, price) in enumerate(zip(priced, prices)):
        if price > BUCKETS:
            continue
        tried = best[: BUCKETS + 1 - price] + item.worth
        taken[place, price:] = tried > best[price:]
        best[price:] = np.maximum(best[price:], tried)
    left = int(np.argmax(best >= best[-1]))
    chosen = set(free)
    for place in reversed(range(len(priced))):
        if taken[place, left]:
            chosen.add(priced[place].name)
            left -= prices[place]
    return tuple(item.name for item in items if item.name in chosen)


def spared_as_measured(
    items: Sequence[Item],
    budget: float,
    whole_cost: Callable[[Sequence[str]], float],
    tolerance: float = 0.0,
) -> tuple[str, ...]:
    """Chooses by the knapsack, and drops what is worth least until the choice keeps to the budget.

    Layers in float cost more together than each alone: at their borders values go from 8 bits to
    float and back, and a runtime may no longer merge what stands there.

    Args:
        items: as in `spared_by_knapsack`.
        budget: in the unit of the costs.
        whole_cost: measures what leaving these layers in float costs.
        tolerance: of the measurement.

    Returns:
        A choice that was measured to keep to the budget; none where `TRIES` found none.
    """
    chosen = spared_by_knapsack(items, budget)
    worth = {item.name: item.worth for item in items}
    for _ in range(TRIES):
        if not chosen:
            break
        cost = whole_cost(chosen)
        if cost <= max(budget, 0.0) + tolerance:
            return chosen
        # As many as would fit if all cost the same; a single one that does not fit is none.
        fitting = max(1, int(len(chosen) * max(budget, 0.0) / cost))
        left = min(fitting, len(chosen) - 1)
        kept = set(sorted(chosen, key=lambda name: -worth[name])[:left])
        chosen = tuple(name for name in chosen if name in kept)
    return ()
