"""Refits the layers that read removed channels, so that they answer as before where they can.

For a layer with weights W that reads x, of which only the channels S are left, the new weights
minimise the mean of |W' x_S - W x|^2 + ridge * |W' - W_S|^2:

    W' = (W H[:, S] + ridge * W_S) (H[S, S] + ridge * I)^-1,   H = mean of x x^T,

which is the least-squares step of channel pruning (He et al., "Channel Pruning for Accelerating
Very Deep Neural Networks", ICCV 2017, arXiv 1707.06168, equation 4). x is a patch for a
convolution.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jettison.errors import CandidateFailed
from jettison.graphs.torch_macs import frozen

__all__ = ["Moments", "patches", "refit", "watch_moments"]

POSITIONS = 64
"""Positions of one row that are read at most; neighbouring ones tell nearly the same."""

RIDGE = 1e-2
"""Ridge as a share of the mean diagonal of H."""


@dataclass(slots=True)
class Moments:
    """What a layer reads.

    Attributes:
        second: mean of x x^T, shape (k, k), float64; k = channels * kernel.
        mean: of x, shape (k,), float64.
        count: positions seen.
    """

    second: Any
    mean: Any
    count: int = 0


def patches(layer: Any, read: Any) -> Any:
    """What each output position of a layer reads, shape (positions, k), k as in the weights.

    Args:
        layer: `Linear`, or a `Conv2d` without groups.
        read: its input.
    """
    if isinstance(layer, nn.Linear):
        return read.flatten(0, -2)
    columns = nn.functional.unfold(
        read, layer.kernel_size, layer.dilation, layer.padding, layer.stride
    )
    if columns.shape[2] > POSITIONS:
        picked = torch.linspace(0, columns.shape[2] - 1, POSITIONS, device=columns.device).long()
        # A shift from row to row, so that all positions are seen over many rows.
        shift = torch.arange(columns.shape[0], device=columns.device)[:, None]
        index = (picked[None, :] + shift) % columns.shape[2]
        columns = columns.gather(2, index[:, None, :].expand(-1, columns.shape[1], -1))
    return columns.transpose(1, 2).flatten(0, 1)


def can_refit(layer: Any) -> bool:
    """Whether the layer's weights can be fitted here."""
    plain = isinstance(layer, nn.Conv2d) and layer.groups == 1 and isinstance(layer.padding, tuple)
    return isinstance(layer, nn.Linear) or (plain and layer.padding_mode == "zeros")


def watch_moments(
    module: Any, layers: Sequence[Any], batches: Iterable[Mapping[str, Any]]
) -> dict[Any, Moments]:
    """Runs batches and gathers the moments of what some layers read.

    Raises:
        CandidateFailed: if a layer read nothing, or something that is not finite.
    """
    names = {part: name for name, part in module.named_modules()}
    found = {layer: _empty(layer) for layer in layers if can_refit(layer)}

    def hook(layer: Any, inputs: tuple[Any, ...]) -> None:
        read = patches(layer, inputs[0].detach()).double()
        moments = found[layer]
        moments.second += read.T @ read
        moments.mean += read.sum(0)
        moments.count += read.shape[0]

    handles = [layer.register_forward_pre_hook(hook) for layer in found]
    try:
        with frozen(module):
            for batch in batches:
                module(**batch)
    finally:
        for handle in handles:
            handle.remove()
    for layer, moments in found.items():
        if not moments.count or not bool(torch.isfinite(moments.second).all()):
            raise CandidateFailed(
                f"`{names[layer]}` read {moments.count} positions on the fitting rows, not all of "
                "them finite, so its weights can't be fitted again"
            )
        moments.second /= moments.count
        moments.mean /= moments.count
    return found


def refit(layer: Any, moments: Moments, kept: Any, original: Any) -> None:
    """Gives a layer that lost input channels the weights that answer most like before.

    Args:
        layer: after the removal; its weights and bias are replaced.
        moments: of what it read before.
        kept: input channels that are left, in order, shape (c,), int64.
        original: its weights before, shape (outputs, k) or (outputs, channels, kh, kw).
    """
    area = int(original[0, 0].numel()) if original.dim() > 2 else 1
    inside = (kept[:, None] * area + torch.arange(area, device=kept.device)).flatten()
    before = original.detach().flatten(1).double()
    second = moments.second
    left = second[inside][:, inside]
    ridge = RIDGE * float(left.diagonal().mean()) + 1e-12
    right = before @ second[:, inside] + ridge * before[:, inside]
    eye = torch.eye(len(inside), dtype=left.dtype, device=left.device)
    weight = torch.linalg.solve(left + ridge * eye, right.T).T
    if layer.bias is not None:
        # The mean of the answer stays; without a bias, a norm that follows is recalibrated.
        shift = before @ moments.mean - weight @ moments.mean[inside]
        layer.bias.data.add_(shift.to(layer.bias.dtype))
    layer.weight.data.copy_(weight.view(layer.weight.shape).to(layer.weight.dtype))


def _empty(layer: Any) -> Moments:
    size = layer.weight[0].numel()
    device = layer.weight.device
    return Moments(
        torch.zeros(size, size, dtype=torch.float64, device=device),
        torch.zeros(size, dtype=torch.float64, device=device),
    )
