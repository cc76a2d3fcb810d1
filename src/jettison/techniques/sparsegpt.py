"""SparseGPT: weights are set to zero column by column, and the rest of each row makes up for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from jettison.domain.recipe import FloatRange, Range
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.mask_technique import MaskTechnique

if TYPE_CHECKING:
    from jettison.graphs.torch_layers import PrunableLayer
    from jettison.graphs.torch_masking import Masking
    from jettison.numerics.input_sums import Moments

DAMPING = 1e-2


class Sparsegpt(MaskTechnique):
    """Prunes each layer by the squared error of its answers and compensates; needs no labels.

    `damping` is the share of the mean diagonal that is added to the Hessian. Source: Frantar and
    Alistarh, SparseGPT, ICML 2023, arXiv 2301.00774, algorithm 1; masks are chosen over 32 columns
    at a time instead of 128 (decision 0041).
    """

    name: ClassVar[str] = "sparsegpt"

    def own_ranges(self) -> Mapping[str, Range]:
        """Searched: `damping`."""
        return {"damping": FloatRange(1e-3, 1.0, DAMPING, logarithmic=True)}

    def prune(self, piece: Masking, settings: Settings, fitting: FittingData) -> str:
        """Runs the fitting rows and prunes layer after layer.

        Raises:
            CandidateFailed: for a damping that is not above 0, or inputs of a layer that are not
                finite or all zero; names the layer.
        """
        from jettison.graphs.torch_inputs import column_groups
        from jettison.numerics.input_sums import Moments

        damping = float(settings.get("damping", DAMPING))
        if not damping > 0.0:
            raise CandidateFailed(f"`damping` is {damping:g}: give a number above 0")

        def begin(layer: PrunableLayer) -> Moments:
            return Moments(*column_groups(layer), layer.module.weight.device)

        def edit(layer: PrunableLayer, seen: Moments) -> None:
            prune_layer(piece, layer, seen, damping)

        piece.visit(begin, edit)
        return "by the error of each layer's answers, the rest of each row making up for them"


def prune_layer(piece: Masking, layer: PrunableLayer, seen: Moments, damping: float) -> None:
    """Prunes one layer in place, each of its groups by the moments of its own inputs."""
    from jettison.graphs.torch_layers import input_order, weight_matrix
    from jettison.numerics.layerwise_obs import KeepNofM, KeepShare, Rounding, factorise, walk

    matrix = weight_matrix(layer)
    # Groups of n:m lie along input channels, and the walk decides on neighbouring columns.
    order = input_order(layer)
    period = layer.weight_shape[1] if layer.kind == "convolution" else 0
    for rows, hessian in zip(matrix.chunk(len(seen.mean)), seen.mean, strict=True):
        try:
            factor = factorise(hessian[order][:, order], damping)
        except CandidateFailed as error:
            raise CandidateFailed(f"layer `{layer.name}`: {error}") from error
        weights = rows[:, order]
        rounding: Rounding
        if piece.pattern is None:
            rounding = KeepShare(weights, factor, piece.sparsity)
        else:
            rounding = KeepNofM(*piece.pattern, period)
        rows[:, order] = walk(weights, factor, rounding).to(rows.dtype)
