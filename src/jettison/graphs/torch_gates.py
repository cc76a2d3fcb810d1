"""How the loss feels a channel: its derivative to a gate of 1 where the channel is read.

For a gate z_k that multiplies channel k, dL_i/dz_k = sum over positions of a_k * dL_i/da_k, one
number for each row i, because a_k * z_k is read in place of a_k. Both importances come from these
numbers: `taylor`, the mean of |dL_i/dz_k| over rows (Molchanov et al., "Pruning Convolutional
Neural Networks for Resource Efficient Inference", ICLR 2017, equation 8), and `fisher`, half the
mean of (dL_i/dz_k)^2, the second-order loss of closing the gate (Theis et al., "Faster gaze
prediction with dense networks and Fisher pruning", 2018, arXiv 1801.05787, equation 10).

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from jettison.errors import CandidateFailed
from jettison.graphs.torch_macs import rows_of

if TYPE_CHECKING:
    # Low rank, recovery and sensitivity read this file too, and need no Torch-Pruning.
    from jettison.graphs.torch_channels import ChannelGroup, Member

__all__ = [
    "GRADIENT_IMPORTANCES",
    "NORM_IMPORTANCES",
    "gate_gradients",
    "importance_of_gates",
    "norms",
]

GRADIENT_IMPORTANCES = ("fisher", "taylor")
"""Importances in units of the loss, which groups of different size can be compared by."""

NORM_IMPORTANCES = ("group_l1", "l1")

RowLoss = Callable[[Any, slice], Any]
"""Gives the sum of the losses of some rows: (answer of the module, which rows) -> scalar tensor."""


def gate_gradients(
    module: Any,
    groups: Sequence[ChannelGroup],
    batches: Iterable[Mapping[str, Any]],
    loss: RowLoss,
) -> list[Any]:
    """Derivatives of each row's loss to the gates of all units.

    The module stays in eval mode, so that one row does not depend on another.

    Args:
        module: called with the tensors of a batch by name.
        groups: of the module as it is now.
        batches: input name -> tensor of shape (n, ...), in the order that `loss` counts rows.
        loss: of some rows, summed.

    Returns:
        One tensor for each group, shape (rows, units), float32, on the module's device.

    Raises:
        CandidateFailed: if a derivative is not finite (names batch and layer), if all are zero,
            or if there is no batch.
    """
    module.eval()
    needs = [(weight, weight.requires_grad) for weight in module.parameters()]
    found: list[list[Any]] = [[] for _ in groups]
    seen = 0
    try:
        for weight, _ in needs:
            weight.requires_grad_(requires_grad=False)
        for number, batch in enumerate(batches):
            rows = rows_of(batch)
            which = slice(seen, seen + rows)
            gates = _one_batch(module, groups, batch, functools.partial(_swapped, loss, which))
            for place, (group, values) in enumerate(zip(groups, gates, strict=True)):
                if not bool(torch.isfinite(values).all()):
                    raise CandidateFailed(
                        f"the gradient of batch {number} (rows {seen} to {seen + rows - 1}) is not "
                        f"finite where `{group.readers[0].name}` reads the channels of "
                        f"`{group.name}`; look for NaN or infinite values in these rows"
                    )
                found[place].append(values)
            seen += rows
    finally:
        for weight, needed in needs:
            weight.requires_grad_(needed)
    if not seen:
        raise CandidateFailed("importance by gradients needs fitting rows; none were given")
    stacked = [torch.cat(parts) for parts in found]
    if not any(bool(values.any()) for values in stacked):
        raise CandidateFailed(
            f"all gradients of {seen} rows are zero, so no channel can be told from another; use "
            "an importance by weights (`group_l1` or `l1`)"
        )
    return stacked


def importance_of_gates(name: str, gates: Any) -> Any:
    """Turns gate derivatives of shape (rows, units) into importances of shape (units,)."""
    if name == "taylor":
        return gates.abs().mean(0)
    return 0.5 * gates.square().mean(0)


def norms(name: str, group: ChannelGroup) -> Any:
    """Importance of each unit by the weights alone, divided by its mean over the group.

    `l1` sums |w| of the first layer that makes the channel (Li et al., "Pruning Filters for
    Efficient ConvNets", ICLR 2017); `group_l1` sums it over every layer that makes or reads it
    (the group norm of DepGraph, equation 4, with p = 1).

    Args:
        name: one of `NORM_IMPORTANCES`.
        group: whose weights are read.

    Returns:
        Shape (units,), float32.
    """
    members = (*group.makers, *group.readers) if name == "group_l1" else group.makers[:1]
    device = members[0].layer.weight.device
    total = torch.zeros(group.channels, device=device)
    for member in members:
        weight = member.layer.weight.detach().abs().float()
        axis = 1 if member.side == "in" else 0
        sums = weight.transpose(0, axis).flatten(1).sum(1)
        total.index_add_(0, member.roots.to(device), sums[member.positions.to(device)])
    units = total.view(group.units, group.block).sum(1)
    return units / units.mean().clamp(min=1e-30)


def _swapped(loss: RowLoss, which: slice, answer: Any) -> Any:
    return loss(answer, which)


def _one_batch(
    module: Any,
    groups: Sequence[ChannelGroup],
    batch: Mapping[str, Any],
    loss: Callable[[Any], Any],
) -> list[Any]:
    rows = rows_of(batch)
    device = next(iter(batch.values())).device
    sums = [torch.zeros(rows, group.channels, device=device) for group in groups]
    handles = [
        member.layer.register_forward_pre_hook(_watch(member, total))
        for group, total in zip(groups, sums, strict=True)
        for member in group.readers
    ]
    try:
        with torch.enable_grad():
            loss(module(**batch)).backward()
    finally:
        for handle in handles:
            handle.remove()
    return [
        total.view(rows, group.units, group.block).sum(2)
        for group, total in zip(groups, sums, strict=True)
    ]


def _watch(member: Member, total: Any) -> Callable[[Any, Any], Any]:
    """Adds activation times gradient to `total`, shape (rows, channels), when gradients arrive."""

    def hook(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        # Where nothing before asks for gradients, they start here.
        read = inputs[0] if inputs[0].requires_grad else inputs[0].detach().requires_grad_()
        axis = -1 if isinstance(layer, torch.nn.Linear) else read.dim() - len(layer.kernel_size) - 1
        values = read.detach()

        def add(gradient: Any) -> None:
            product = (values * gradient).float().movedim(axis, -1)
            by_channel = _by_rows(product, len(total), member.name)
            positions = member.positions.to(values.device)
            total.index_add_(1, member.roots.to(values.device), by_channel[:, positions])

        read.register_hook(add)
        return (read, *inputs[1:])

    return hook


def _by_rows(product: Any, rows: int, name: str) -> Any:
    """Sums over all but rows and channels: (..., channels) to (rows, channels).

    Rows come first, alone or with positions on the same axis (rows * tokens), or second.
    """
    if product.dim() > 2 and product.shape[0] != rows == product.shape[1]:
        product = product.transpose(0, 1)
    if product.shape[0] % rows:
        raise CandidateFailed(
            f"importance by gradients can't tell {rows} rows apart in what `{name}` reads, of shape "
            f"{tuple(product.shape)}; use `reconstruction` or `group_l1`"
        )
    return product.reshape(rows, -1, product.shape[-1]).sum(1)
