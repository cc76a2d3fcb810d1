"""Ways to change one layer's weights, as sensitivity compares them: each gives W' - W.

Every change is a matrix of the shape of `weight_matrix`. Importing this file imports torch; plug-ins
import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from jettison.graphs.torch_layers import PrunableLayer, n_of_m_mask, weight_matrix

__all__ = ["OPTIONS", "Change"]

Change = Callable[[PrunableLayer], Any]


def half_pruned(layer: PrunableLayer) -> Any:
    """Sets the smaller half of the weights to zero."""
    matrix = weight_matrix(layer)
    flat = matrix.abs().flatten()
    smallest = flat.argsort(stable=True)[: flat.numel() // 2]
    change = torch.zeros_like(flat)
    change[smallest] = -matrix.flatten()[smallest]
    return change.view(matrix.shape)


def two_of_four(layer: PrunableLayer) -> Any:
    """Sets the two smallest of each four neighbouring input channels to zero, as masks do."""
    matrix = weight_matrix(layer)
    return -matrix.masked_fill(n_of_m_mask(layer, matrix.abs(), 2, 4), 0.0)


def half_of_outputs(layer: PrunableLayer) -> Any:
    """Sets the smaller half of the outputs to zero, by the length of their weights."""
    matrix = weight_matrix(layer)
    smallest = matrix.norm(dim=1).argsort(stable=True)[: len(matrix) // 2]
    change = torch.zeros_like(matrix)
    change[smallest] = -matrix[smallest]
    return change


def half_of_weights_in_factors(layer: PrunableLayer) -> Any:
    """Keeps the best product of two thin matrices that together have half as many weights."""
    matrix = weight_matrix(layer)
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


def rounded_int8(layer: PrunableLayer) -> Any:
    """Rounds to 8 bits, symmetric, with one scale for each output."""
    matrix = weight_matrix(layer)
    scale = matrix.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
    return (matrix / scale).round() * scale - matrix


def rounded_float16(layer: PrunableLayer) -> Any:
    """Rounds to half precision."""
    matrix = weight_matrix(layer)
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
