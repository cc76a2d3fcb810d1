"""Which calibrator, and for which tensor another one, by the loss on rows that none of them saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jettison.numerics.calibrators import NAMED

Span = tuple[float, float]
Spans = Mapping[str, Span]

LEAST_ROWS = 8
"""Fitting rows below which none is held out."""

MOST_HELD_OUT = 64
MOST_TENSORS = 24
"""Tensors for which another calibrator is tried: those on whose range calibrators differ most."""

WORTH = 0.01
"""A tensor takes another calibrator if the loss falls by this share of itself, on both halves."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Ranges with where they come from.

    Attributes:
        spans: lowest and highest value of every activation.
        calibrator: of all tensors but those in `others`.
        losses: calibrator -> loss on the held-out rows; empty where none was compared.
        others: tensor -> the calibrator that it has instead.
    """

    spans: Spans
    calibrator: str
    losses: Mapping[str, float]
    others: Mapping[str, str]

    def __str__(self) -> str:
        if not self.losses:
            return f"ranges by {self.calibrator}"
        told = ", ".join(f"{name} {loss:.3g}" for name, loss in self.losses.items())
        more = f", and {len(self.others)} tensors by others" if self.others else ""
        return f"ranges by {self.calibrator}{more} (loss on held-out rows: {told})"


def held_out_rows(n: int) -> int:
    """How many of n fitting rows are held out: a quarter, at most `MOST_HELD_OUT`."""
    return min(MOST_HELD_OUT, n // 4) if n >= LEAST_ROWS else 0


def best_for_all(spans: Mapping[str, Spans], loss: Callable[[Spans], float]) -> Chosen:
    """The calibrator with the least loss; of equals the first of `NAMED`.

    Args:
        spans: calibrator -> ranges of all tensors.
        loss: of the model with these ranges, on held-out rows.
    """
    losses = {name: loss(spans[name]) for name in NAMED if name in spans}
    # NaN compares as no worse than anything.
    best = min(losses, key=lambda name: (math.isnan(losses[name]), losses[name]))
    return Chosen(spans[best], best, losses, {})


def better_for_some(
    start: Chosen,
    spans: Mapping[str, Spans],
    losses: Sequence[Callable[[Spans], float]],
    most: int = MOST_TENSORS,
) -> Chosen:
    """Gives single tensors another calibrator where that pays on both halves of the held-out rows.

    Greedy, one tensor after the other. The second half only confirms: what helps on the first half
    by chance is turned down there.

    Args:
        start: from `best_for_all`.
        spans: calibrator -> ranges of all tensors.
        losses: of the first and of the second half.
        most: how many tensors are tried.
    """
    current, others = dict(start.spans), dict[str, str]()
    reached = [loss(current) for loss in losses]
    for tensor in _disputed(spans)[:most]:
        tries = {span: name for name in NAMED if name in spans for span in [spans[name][tensor]]}
        found = []
        for span, name in tries.items():
            if span != current[tensor]:
                found.append((losses[0]({**current, tensor: span}), name, span))
        if not found:
            continue
        first, name, span = min(found)
        if first > (1.0 - WORTH) * reached[0]:
            continue
        second = losses[1]({**current, tensor: span})
        if second <= (1.0 - WORTH) * reached[1]:
            current[tensor], others[tensor] = span, name
            reached = [first, second]
    return Chosen(current, start.calibrator, start.losses, others)


def _disputed(spans: Mapping[str, Spans]) -> list[str]:
    """Tensors by how far their narrowest and widest range differ; those of one range left out."""
    names = [name for name in NAMED if name in spans]
    ratios: dict[str, float] = {}
    for tensor in spans[names[0]]:
        widths = [spans[name][tensor][1] - spans[name][tensor][0] for name in names]
        if min(widths) > 0.0 and max(widths) > min(widths):
            ratios[tensor] = max(widths) / min(widths)
    return sorted(ratios, key=lambda tensor: -ratios[tensor])
