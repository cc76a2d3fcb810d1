"""What each layer loses by each way of changing it alone, from the gradients of some rows.

For a change d of the weights of one layer, the second-order loss is half the mean over rows of
(g_i . d)^2, with g_i the gradient of row i: the empirical Fisher matrix between d and itself, with
all interactions within the layer. One backward pass a row serves every layer and every option; no
gradient is stored.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from jettison.errors import CandidateFailed
from jettison.graphs.torch_gates import RowLoss
from jettison.graphs.torch_layers import PrunableLayer, weight_matrix
from jettison.graphs.torch_macs import rows_of

__all__ = ["OPTIONS", "layer_sensitivity"]


def half_pruned(matrix: Any) -> Any:
    """The change that sets the smaller half of the weights to zero."""
    flat = matrix.abs().flatten()
    smallest = flat.argsort(stable=True)[: flat.numel() // 2]
    change = torch.zeros_like(flat)
    change[smallest] = -matrix.flatten()[smallest]
    return change.view(matrix.shape)


def two_of_four(matrix: Any) -> Any:
    """The change that zeroes the two smallest of each four neighbouring inputs; a rest stays."""
    whole = matrix.shape[1] // 4 * 4
    change = torch.zeros_like(matrix)
    if not whole:
        return change
    groups = matrix[:, :whole].reshape(len(matrix), -1, 4)
    smallest = groups.abs().argsort(dim=2, stable=True)[..., :2]
    gone = torch.zeros_like(groups).scatter(2, smallest, 1.0)
    change[:, :whole] = (-groups * gone).reshape(len(matrix), whole)
    return change


def rounded_int8(matrix: Any) -> Any:
    """The change by rounding to 8 bits, symmetric, with one scale for each output."""
    scale = matrix.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
    return (matrix / scale).round() * scale - matrix


OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "half pruned": half_pruned,
    "2:4": two_of_four,
    "int8": rounded_int8,
}
"""Ways to change a layer: weight matrix of shape (out, k) -> its change."""


def layer_sensitivity(
    module: Any,
    layers: Sequence[PrunableLayer],
    batches: Iterable[Mapping[str, Any]],
    loss: RowLoss,
    options: Mapping[str, Callable[[Any], Any]] = OPTIONS,
) -> dict[str, dict[str, float]]:
    """Predicts the loss of each option on each layer alone.

    Args:
        module: in eval mode, called with tensors by name.
        layers: of `prunable_layers`.
        batches: input name -> tensor of shape (n, ...), in the order that `loss` counts rows.
        loss: of some rows, summed; with labels drawn from the model's own answers it is the
            expected divergence from the original (see `row_loss_of`).
        options: ways to change a layer.

    Returns:
        Layer name -> option -> loss, in nats a row for classification.

    Raises:
        CandidateFailed: if there is no row, or a gradient is not finite (names row and layer).
    """
    changes = {
        layer.name: {name: change(weight_matrix(layer)) for name, change in options.items()}
        for layer in layers
    }
    sums = {layer.name: dict.fromkeys(options, 0.0) for layer in layers}
    weights = [layer.module.weight for layer in layers]
    needs = [(weight, weight.requires_grad) for weight in module.parameters()]
    seen = 0
    module.eval()
    try:
        for weight, _ in needs:
            weight.requires_grad_(requires_grad=False)
        for weight in weights:
            weight.requires_grad_(requires_grad=True)
        for batch in batches:
            for row in range(rows_of(batch)):
                one = {name: tensor[row : row + 1] for name, tensor in batch.items()}
                with torch.enable_grad():
                    value = loss(module(**one), slice(seen, seen + 1))
                found = torch.autograd.grad(value, weights, allow_unused=True)
                _add(sums, layers, found, changes, seen)
                seen += 1
    finally:
        for weight, needed in needs:
            weight.requires_grad_(needed)
    if not seen:
        raise CandidateFailed("sensitivity needs fitting rows; none were given")
    return {
        layer: {option: 0.5 * total / seen for option, total in found.items()}
        for layer, found in sums.items()
    }


def _add(
    sums: dict[str, dict[str, float]],
    layers: Sequence[PrunableLayer],
    gradients: Sequence[Any],
    changes: Mapping[str, Mapping[str, Any]],
    row: int,
) -> None:
    for layer, gradient in zip(layers, gradients, strict=True):
        if gradient is None:
            continue
        matrix = gradient.t() if layer.kind == "transposed" else gradient.flatten(1)
        if not bool(torch.isfinite(matrix).all()):
            raise CandidateFailed(
                f"the gradient of row {row} is not finite in layer `{layer.name}`; look for NaN or "
                "infinite values in this row"
            )
        for option, change in changes[layer.name].items():
            sums[layer.name][option] += float((matrix * change).sum()) ** 2
