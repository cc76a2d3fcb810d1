"""Which layers to leave in float: the most sensitivity removed for a share of the time saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BUCKETS = 1000
"""Steps of the budget; costs are rounded up to them, so that the budget is never exceeded."""


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


def spared_by_knapsack(items: Sequence[Item], share: float) -> tuple[str, ...]:
    """Chooses layers whose worth sums to the most, for at most a share of all time saved.

    0/1 knapsack by dynamic programming. A layer that costs nothing is chosen if it is worth
    anything; of equal worth, the cheaper choice wins.

    Args:
        items: in the order of the graph, which the answer keeps.
        share: of the summed positive costs that may be given up, from 0 to 1.

    >>> spared_by_knapsack([Item("a", 5, 10), Item("b", 4, 5), Item("c", 3, 5)], 0.5)
    ('b', 'c')
    """
    free = {item.name for item in items if item.cost <= 0.0 < item.worth}
    priced = [item for item in items if item.cost > 0.0 < item.worth]
    whole = sum(item.cost for item in items if item.cost > 0.0)
    if not priced or share <= 0.0:
        return tuple(item.name for item in items if item.name in free)
    prices = [int(np.ceil(BUCKETS * item.cost / (whole * share) - 1e-9)) for item in priced]
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
