"""How sparsity grows over stages (Benbaki et al., ICML 2023, section 4, and its neighbours)."""

from __future__ import annotations

import math

from jettison.errors import CandidateFailed

SCHEDULES = ("exponential", "polynomial", "linear", "geometric", "constant")


def schedule(name: str, first: float, last: float, stages: int) -> tuple[float, ...]:
    """The sparsity of each stage; the last is exactly `last`.

    Args:
        name: `exponential` (the rest of the way shrinks by half each stage), `polynomial` (cubic,
            Zhu and Gupta 2017), `linear`, `geometric` (the weights that stay shrink by the same
            factor), or `constant`.
        first: sparsity of the first stage (0 <= first <= last), where there are at least two.
        last: sparsity to end at, below 1.
        stages: at least 1; one stage is `last` alone.

    Raises:
        CandidateFailed: for an unknown name or numbers out of range.
    """
    if name not in SCHEDULES:
        raise CandidateFailed(f"`schedule` must be one of {', '.join(SCHEDULES)}; got {name!r}")
    if stages < 1:
        raise CandidateFailed(f"`stages` must be at least 1; got {stages}")
    if not 0.0 <= first <= last < 1.0:
        raise CandidateFailed(
            f"sparsity must grow from the first stage to the last, below 1; got {first} to {last}"
        )
    if stages == 1 or name == "constant":
        return (last,) * stages
    grown = (_at(name, first, last, t / (stages - 1), stages) for t in range(stages - 1))
    # Rounding may step over the ends by the last digit.
    return (*(min(max(sparsity, first), last) for sparsity in grown), last)


def _at(name: str, first: float, last: float, way: float, stages: int) -> float:
    """The sparsity after a share `way` (0 to 1) of the stages."""
    if name == "linear":
        return first + (last - first) * way
    if name == "polynomial":
        left = 1.0 - way
        return last + (first - last) * left * left * left
    if name == "geometric":
        return 1.0 - (1.0 - first) * math.pow((1.0 - last) / (1.0 - first), way)
    steps = stages - 1
    return first + (last - first) * (1.0 - math.exp2(-way * steps)) / (1.0 - math.exp2(-steps))
