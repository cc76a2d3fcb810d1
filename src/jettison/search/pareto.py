"""The Pareto front of what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere worse and somewhere better; smaller is better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(
        a < b for a, b in zip(one, other, strict=True)
    )


def pareto_front(points: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Names of the points that no other point dominates, in the order given.

    Args:
        points: name -> objectives, each to be minimised; all of one length.

    Example:
        >>> pareto_front({"a": (1, 2), "b": (2, 1), "c": (2, 2)})
        ('a', 'b')
    """
    return tuple(
        name
        for name, values in points.items()
        if not any(dominates(other, values) for key, other in points.items() if key != name)
    )
