"""Ways to change one layer's weights, as sensitivity compares them: each gives W' - W.

Every change takes and gives a matrix of shape (out, k), k the inputs times the window of a
convolution. Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["OPTIONS", "Change"]

Change = Callable[[Any], Any]


def half_pruned(matrix: Any) -> Any:
    """Sets the smaller half of the weights to zero."""
    flat = matrix.abs().flatten()
    smallest = flat.argsort(stable=True)[: flat.numel() // 2]
    change = torch.zeros_like(flat)
    change[smallest] = -matrix.flatten()[smallest]
    return change.view(matrix.shape)


def two_of_four(matrix: Any) -> Any:
    """Sets the two smallest of each four neighbouring inputs to zero; a rest stays."""
    whole = matrix.shape[1] // 4 * 4
    change = torch.zeros_like(matrix)
    if not whole:
        return change
    groups = matrix[:, :whole].reshape(len(matrix), -1, 4)
    smallest = groups.abs().argsort(dim=2, stable=True)[..., :2]
    gone = torch.zeros_like(groups).scatter(2, smallest, 1.0)
    change[:, :whole] = (-groups * gone).reshape(len(matrix), whole)
    return change


def half_of_outputs(matrix: Any) -> Any:
    """Sets the smaller half of the outputs to zero, by the length of their weights."""
    smallest = matrix.norm(dim=1).argsort(stable=True)[: len(matrix) // 2]
    change = torch.zeros_like(matrix)
    change[smallest] = -matrix[smallest]
    return change


def half_of_weights_in_factors(matrix: Any) -> Any:
    """Keeps the best product of two thin matrices that together have half as many weights."""
    rows, columns = matrix.shape
    rank = max(1, rows * columns // (2 * (rows + columns)))
    if rank >= min(rows, columns):
        return torch.zeros_like(matrix)
    # From the smaller Gram matrix: much cheaper than a whole singular value decomposition.
    if rows <= columns:
        kept = torch.linalg.eigh(matrix @ matrix.t()).eigenvectors[:, -rank:]
        return kept @ (kept.t() @ matrix) - matrix
    kept = torch.linalg.eigh(matrix.t() @ matrix).eigenvectors[:, -rank:]
    return (matrix @ kept) @ kept.t() - matrix


def rounded_int8(matrix: Any) -> Any:
    """Rounds to 8 bits, symmetric, with one scale for each output."""
    scale = matrix.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
    return (matrix / scale).round() * scale - matrix


def rounded_float16(matrix: Any) -> Any:
    """Rounds to half precision."""
    return matrix.half().to(matrix.dtype) - matrix


OPTIONS: Mapping[str, Change] = {
    "half pruned": half_pruned,
    "2:4": two_of_four,
    "half of outputs": half_of_outputs,
    "half in factors": half_of_weights_in_factors,
    "int8 weights": rounded_int8,
    "float16 weights": rounded_float16,
}
"""One for each kind of technique that changes weights: name -> change."""
