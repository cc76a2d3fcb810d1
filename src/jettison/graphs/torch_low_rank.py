"""Two thin layers in place of one: the best ones for what the layer is given.

For weights W, inputs with covariance C = R R^T and output weights D = diag(d), the rank-r matrix
that minimises the mean of |D (W - W') (x - mean)|^2 is D^-1 U_r S_r V_r^T R^-1, where U S V^T is
the singular value decomposition of D W R; what is lost is the sum of the squared singular values
that are left out. Without D this is DRONE (Chen et al., "DRONE: Data-aware Low-rank Compression
for Large NLP Models", NeurIPS 2021, theorem 1) and the whitening of SVD-LLM (Wang et al. 2024,
arXiv 2403.07378, section 3.1). d is the root of the mean squared gradient of the loss to each
output, so that errors of different layers are in the unit of the loss (the diagonal of the
Fisher matrix over outputs). A convolution of k x k becomes one of k x k to r channels and one of
1 x 1 (Zhang et al., "Accelerating Very Deep Convolutional Networks", TPAMI 2016, section 3.1).

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.torch_gates import RowLoss
from jettison.graphs.torch_layers import PrunableLayer, prunable_layers
from jettison.graphs.torch_macs import rows_of
from jettison.graphs.torch_reconstruct import Moments, can_refit, watch_moments

__all__ = ["Factored", "factor", "output_weights", "replace", "thin_layers"]

DAMPING = 1e-6
"""Added to the covariance, as a share of its mean diagonal: rows may not span all directions."""

Batches = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Factored:
    """One layer and its singular values.

    Attributes:
        layer: as found.
        left, right: shapes (out, q) and (q, k): the first r columns and rows make rank r.
        mean: of the inputs, shape (k,).
        lost: error at each rank, shape (q + 1,), float64.
    """

    layer: PrunableLayer
    left: Any
    right: Any
    mean: Any
    lost: Any

    @property
    def unit_cost(self) -> int:
        """Products of one rank at one position."""
        return int(self.left.shape[0] + self.right.shape[1])

    @property
    def full_cost(self) -> int:
        """Products of the whole layer at one position."""
        return int(self.left.shape[0] * self.right.shape[1])


def thin_layers(module: Any, patterns: str = "") -> tuple[PrunableLayer, ...]:
    """Layers that can be factored: linear ones and plain 2-d convolutions that share no weights.

    Raises:
        NothingChanged: if there is none.
        CandidateFailed: if a pattern matches no layer.
    """
    found = prunable_layers(module, patterns)
    fit = tuple(
        layer
        for layer in found
        if layer.kind != "transposed" and len(layer.names) == 1 and can_refit(layer.module)
    )
    if not fit:
        raise NothingChanged(
            f"none of {len(found)} layers can be made of two thin ones: only `Linear` and `Conv2d` "
            "without groups, whose weights no other layer shares"
        )
    return fit


def output_weights(
    module: Any, layers: Sequence[PrunableLayer], batches: Batches, loss: RowLoss
) -> dict[str, Any]:
    """The mean over rows of the squared gradients to each output, summed over positions.

    Returns:
        Layer name -> shape (out,), float64.

    Raises:
        CandidateFailed: if a gradient is not finite (names batch and layer), or all are zero.
    """
    sums: dict[str, Any] = {}
    handles = [layer.module.register_forward_hook(_watch(layer, sums)) for layer in layers]
    needs = [(weight, weight.requires_grad) for weight in module.parameters()]
    seen = 0
    try:
        for weight, _ in needs:
            weight.requires_grad_(weight.is_floating_point())
        for number, batch in enumerate(batches):
            rows = rows_of(batch)
            with torch.enable_grad():
                value = loss(module(**batch), slice(seen, seen + rows))
                torch.autograd.grad(value, [weight for weight, _ in needs], allow_unused=True)
            seen += rows
            for name, total in sums.items():
                if not bool(torch.isfinite(total).all()):
                    raise CandidateFailed(
                        f"the gradient of batch {number} is not finite at the answer of `{name}`; "
                        "look for NaN or infinite values in these rows"
                    )
    finally:
        for handle in handles:
            handle.remove()
        for weight, needed in needs:
            weight.requires_grad_(needed)
    if not any(bool(total.any()) for total in sums.values()):
        raise CandidateFailed(
            f"all gradients of {seen} rows are zero, so layers can't be weighed against each "
            "other; set `weighed` to false"
        )
    return {name: total / seen for name, total in sums.items()}


def factor(
    module: Any,
    layers: Sequence[PrunableLayer],
    batches: Batches,
    weights: Mapping[str, Any],
) -> list[Factored]:
    """Decomposes layers by what they are given on some rows; changes nothing.

    Args:
        module: in eval mode.
        layers: of `thin_layers`.
        batches: input name -> tensor of shape (n, ...).
        weights: of `output_weights`; layers that it leaves out weigh all outputs alike.

    Raises:
        CandidateFailed: if a layer is given something that is not finite.
    """
    moments = watch_moments(module, [layer.module for layer in layers], batches)
    return [_decomposed(layer, moments[layer.module], weights.get(layer.name)) for layer in layers]


def replace(module: Any, made: Factored, rank: int) -> None:
    """Puts two layers of some rank in place of one; the second has a bias.

    The bias holds what the mean of the inputs adds, so the mean of the answer stays.
    """
    layer = made.layer.module
    left, right = made.left[:, :rank], made.right[:rank]
    before = layer.weight.detach().flatten(1).double()
    bias = (before - left @ right) @ made.mean
    if layer.bias is not None:
        bias = bias + layer.bias.detach().double()
    first, second = _pair(layer, rank)
    kind, device = layer.weight.dtype, layer.weight.device
    pair = nn.Sequential(first, second).to(device=device, dtype=kind)
    with torch.no_grad():
        first.weight.copy_(right.reshape(first.weight.shape))
        second.weight.copy_(left.reshape(second.weight.shape))
        second.bias.copy_(bias)
    module.set_submodule(made.layer.name, pair.eval())


def _pair(layer: Any, rank: int) -> tuple[Any, Any]:
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
    first = nn.Conv2d(
        layer.in_channels,
        rank,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        bias=False,
    )
    return first, nn.Conv2d(rank, layer.out_channels, 1)


def _decomposed(layer: PrunableLayer, moments: Moments, weights: Any) -> Factored:
    before = layer.module.weight.detach().flatten(1).double()
    covariance = moments.second - torch.outer(moments.mean, moments.mean)
    scale = float(covariance.diagonal().mean())
    if scale <= 0:
        raise CandidateFailed(
            f"layer `{layer.name}` is given the same values at every position of the fitting rows, "
            "so its weights can't be told apart; give more rows, or leave it out with `layers`"
        )
    eye = torch.eye(len(covariance), dtype=torch.float64, device=covariance.device)
    # By eigenvectors, which also takes covariances that rounding made slightly indefinite.
    values, vectors = torch.linalg.eigh(covariance + DAMPING * scale * eye)
    roots = values.clamp(min=DAMPING * scale).sqrt()
    d = torch.ones(len(before), dtype=torch.float64, device=before.device)
    if weights is not None:
        # An output that no row's loss feels still gets a little weight, so that D has an inverse.
        d = (weights + 1e-6 * weights.mean() + 1e-30).sqrt()
    u, s, v = torch.linalg.svd(d[:, None] * before @ (vectors * roots), full_matrices=False)
    lost = torch.cat([s.square().flip(0).cumsum(0).flip(0), s.new_zeros(1)])
    left = u * s / d[:, None]
    right = (v / roots) @ vectors.T
    return Factored(layer, left, right, moments.mean, 0.5 * lost)


def _watch(layer: PrunableLayer, sums: dict[str, Any]) -> Callable[..., None]:
    def hook(part: Any, given: Any, answer: Any) -> None:
        def add(gradient: Any) -> None:
            axis = -1 if isinstance(part, nn.Linear) else 1
            squares = gradient.detach().double().square().movedim(axis, -1)
            found = squares.flatten(0, -2).sum(0)
            sums[layer.name] = sums.get(layer.name, 0) + found

        answer.register_hook(add)

    return hook
