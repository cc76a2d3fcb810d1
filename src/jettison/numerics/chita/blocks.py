"""Block mode: the mask is chosen over all weights, the values block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jettison.numerics.chita.backsolve import Backsolve
from jettison.numerics.chita.problem import Problem


def blocks_of(layers: Sequence[slice], size: int) -> Iterator[slice]:
    """Cuts each layer's part of the vector into contiguous blocks of at most `size`."""
    for layer in layers:
        for start in range(layer.start, layer.stop, size):
            yield slice(start, min(start + size, layer.stop))


def block_backsolve(
    problem: Problem, mask: Any, blocks: Sequence[slice], ridges: Sequence[float]
) -> list[Any]:
    """The exact weights of each block alone; curvature between blocks is ignored.

    The cost is the sum over blocks of min(n, k_b)^2 * max(n, k_b) (Benbaki et al., ICML 2023,
    section 3.3); beside the rows it needs memory for one block.

    Args:
        problem: over all weights; its ridge is not used.
        mask: bool of shape (p,).
        blocks: parts that cover the vector.
        ridges: n times the ridge per weight.

    Returns:
        For each ridge the weights, shape (p,).
    """
    results = [problem.start.clone() for _ in ridges]
    for block in blocks:
        part = Problem(
            problem.rows.restricted(block),
            problem.start[block],
            problem.ridge,
            problem.offset,
            None if problem.linear is None else problem.linear[block],
        )
        exact = Backsolve(part, mask[block])
        for result, ridge in zip(results, ridges, strict=True):
            result[block] = exact.weights(ridge)
    return results
