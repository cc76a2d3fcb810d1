"""What each layer loses by each way of changing it alone, from the gradients of some rows.

For a change d of the weights of one layer, the second-order loss is half the mean over rows of
(g_i . d)^2, with g_i the gradient of row i: the empirical Fisher matrix between d and itself, with
all interactions within the layer. One backward pass a row serves every layer and every option; no
gradient is stored.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from jettison.domain.model import Model
from jettison.domain.profile import LayerLosses
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.torch_examples import FittingExamples
from jettison.graphs.torch_gates import RowLoss
from jettison.graphs.torch_layer_changes import OPTIONS, Change
from jettison.graphs.torch_layers import PrunableLayer, prunable_layers
from jettison.graphs.torch_macs import rows_of
from jettison.graphs.torch_row_loss import mixed_order, row_loss_of

__all__ = ["layer_sensitivity", "model_sensitivity"]


CHANGES_BYTES = 2**29
"""The most that the changes of the layers that are looked at together may take."""

MOST_ROWS = 32
FEWEST_ROWS = 8
TOGETHER = 8


def model_sensitivity(model: Model, module: Any, fitting: FittingData) -> LayerLosses:
    """Predicts what every layer of a model loses by each of `OPTIONS`, from the fitting rows.

    Layers are taken in groups whose changes fit in memory; with more groups fewer rows are read,
    from 32 down to 8, so that the work stays bounded.

    Args:
        model: describes the module.
        module: the opened model.
        fitting: rows, with right answers or without.

    Raises:
        NothingChanged: if no layer has weights that can be changed.
        CandidateFailed: if rows can't run one by one, or gradients can't be had or are not
            finite; says why.
    """
    if "fixed-batch" in model.traits:
        raise CandidateFailed(
            "this model takes batches of one size only, and sensitivity needs the gradient of "
            "each row: export it again with a free batch dimension"
        )
    groups = _groups(prunable_layers(module))
    rows = min(fitting.rows.n, max(FEWEST_ROWS, MOST_ROWS // len(groups)))
    examples = FittingExamples(fitting, classes=model.task == "classification")
    index = mixed_order(fitting)[:rows].split(TOGETHER)
    loss = row_loss_of(model, fitting)
    losses: dict[str, dict[str, float]] = {}
    for group in groups:
        losses |= layer_sensitivity(module, group, (examples.batch(i) for i in index), loss)
    return LayerLosses(losses, _note(model, fitting, rows))


def _groups(layers: Sequence[PrunableLayer]) -> list[tuple[PrunableLayer, ...]]:
    groups: list[list[PrunableLayer]] = [[]]
    taken = 0
    for layer in layers:
        needed = 4 * len(OPTIONS) * layer.count
        if groups[-1] and taken + needed > CHANGES_BYTES:
            groups.append([])
            taken = 0
        groups[-1].append(layer)
        taken += needed
    return [tuple(group) for group in groups]


def _note(model: Model, fitting: FittingData, rows: int) -> str:
    labels = fitting.labels
    labelled = labels is not None and labels.targets is not None and model.task == "classification"
    unit = "nats a row" if model.task == "classification" else "half squared units of the answer"
    against = "of the right answers" if labelled else "against its own answers"
    return (
        f"Predicted loss {against} when one layer alone is changed ({unit}, second order, from "
        f"the gradients of {rows} fitting rows)."
    )


def layer_sensitivity(
    module: Any,
    layers: Sequence[PrunableLayer],
    batches: Iterable[Mapping[str, Any]],
    loss: RowLoss,
    options: Mapping[str, Change] = OPTIONS,
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
        layer.name: {name: change(layer) for name, change in options.items()} for layer in layers
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
                found = _gradients(module, one, loss, seen, weights)
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


def _gradients(
    module: Any, one: Mapping[str, Any], loss: RowLoss, row: int, weights: Sequence[Any]
) -> Any:
    try:
        with torch.enable_grad():
            value = loss(module(**one), slice(row, row + 1))
        return torch.autograd.grad(value, weights, allow_unused=True)
    except RuntimeError as error:
        raise CandidateFailed(f"gradients of this model can't be had: {error}") from error


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
