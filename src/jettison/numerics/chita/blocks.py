"""Block mode: the mask is chosen over all weights, the values block by block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jettison.numerics.chita.backsolve import Backsolve
from jettison.numerics.chita.problem import Problem
from jettison.numerics.chita.solver import Solution


def block_path(
    problems: Iterable[tuple[slice, Problem]],
    start: Any,
    mask: Any,
    blocks: Sequence[slice],
    ridges: Sequence[float],
) -> list[Solution]:
    """One solution for each ridge; only the rows of one part are needed at a time.

    The cost is the sum over blocks of min(n, k_b)^2 * max(n, k_b) for k_b kept weights
    (Benbaki et al., ICML 2023, section 3.3). Curvature between blocks is ignored.

    Args:
        problems: parts of the vector, each with the problem over its weights.
        start: all weights, shape (p,).
        mask: bool of shape (p,).
        blocks: parts of the vector that are solved apart; none crosses from problem to problem.
        ridges: per weight.
    """
    results = [start.clone() for _ in ridges]
    predicted = [0.0] * len(results)
    for part, problem in problems:
        inside = [
            block for block in blocks if part.start <= block.start and block.stop <= part.stop
        ]
        for block in inside:
            place = slice(block.start - part.start, block.stop - part.start)
            exact = Backsolve(problem.restricted(place), mask[block])
            for result, ridge in zip(results, ridges, strict=True):
                result[block] = exact.weights(ridge * problem.rows.n)
        for number, ridge in enumerate(ridges):
            here = problem.with_ridge(ridge * problem.rows.n)
            weights = results[number][part]
            predicted[number] += here.predicted(weights, here.value(weights))
    return [
        Solution(weights, mask, ridge, change)
        for weights, ridge, change in zip(results, ridges, predicted, strict=True)
    ]


def blocks_of(layers: Sequence[slice], size: int) -> tuple[slice, ...]:
    """Cuts each layer's part of the vector into contiguous blocks of at most `size`."""
    return tuple(
        slice(start, min(start + size, layer.stop))
        for layer in layers
        for start in range(layer.start, layer.stop, size)
    )
