"""Which rank each layer gets, given what each rank loses and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.rows import Array

__all__ = ["RankOptions", "ranks_by_energy", "ranks_for_cost"]


@dataclass(frozen=True, slots=True)
class RankOptions:
    """What one layer could become.

    Attributes:
        lost: lost[r] is the error at rank r, shape (most + 1,), falling; in the same unit for
            all layers where they compete for one budget.
        unit_cost: cost of one rank (its share of both factors).
        full_cost: of the layer as it is; at full rank nothing is lost.
        step: ranks are multiples of this.
    """

    lost: Array
    unit_cost: float
    full_cost: float
    step: int = 1

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks at which two factors cost less than the layer."""
        return tuple(
            rank
            for rank in range(self.step, len(self.lost), self.step)
            if rank * self.unit_cost < self.full_cost
        )


def ranks_by_energy(layers: Sequence[RankOptions], energy: float) -> tuple[int | None, ...]:
    """The smallest rank of each layer that keeps a share of its energy; `None` leaves it whole.

    Args:
        layers: their `lost[0]` is the whole energy.
        energy: share to keep, between 0 and 1.
    """
    return tuple(
        next((r for r in layer.ranks if layer.lost[r] <= (1 - energy) * layer.lost[0]), None)
        for layer in layers
    )


def ranks_for_cost(layers: Sequence[RankOptions], budget: float) -> tuple[int | None, ...]:
    """The ranks with the least error in all at no more than a cost; `None` leaves a layer whole.

    For a price of cost, each layer takes the option with the least error + price * cost; the
    price is bisected. These are the points of the lower convex hull, which is the optimum of the
    sum except for less than one layer's step.

    Args:
        layers: what they could become.
        budget: in the unit of the costs.

    Returns:
        One rank for each layer; the smallest ranks where even those cost more than the budget.
    """
    low, high = 0.0, 1.0
    while _cost(layers, _at_price(layers, high)) > budget and high < 1e30:
        high *= 8.0
    for _ in range(100):
        middle = (low + high) / 2
        if _cost(layers, _at_price(layers, middle)) > budget:
            low = middle
        else:
            high = middle
    return _at_price(layers, high)


def _at_price(layers: Sequence[RankOptions], price: float) -> tuple[int | None, ...]:
    chosen: list[int | None] = []
    for layer in layers:
        ranks = np.array(layer.ranks, dtype=int)
        if not len(ranks):
            chosen.append(None)
            continue
        totals = np.asarray(layer.lost)[ranks] + price * ranks * layer.unit_cost
        best = int(np.argmin(totals))
        chosen.append(None if totals[best] >= price * layer.full_cost else int(ranks[best]))
    return tuple(chosen)


def _cost(layers: Sequence[RankOptions], ranks: Sequence[int | None]) -> float:
    return sum(
        layer.full_cost if rank is None else rank * layer.unit_cost
        for layer, rank in zip(layers, ranks, strict=True)
    )
