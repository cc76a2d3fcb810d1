"""SparseGPT: weights are set to zero column by column, and the rest of each row makes up for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import FloatRange, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

if TYPE_CHECKING:
    from jettison.graphs.torch_layers import PrunableLayer
    from jettison.graphs.torch_masking import Masking
    from jettison.numerics.input_sums import Moments


class Sparsegpt:
    """Prunes each layer by the squared error of its answers and compensates; needs no labels.

    Source: Frantar and Alistarh, SparseGPT, ICML 2023, arXiv 2301.00774, algorithm 1; masks are
    chosen over 32 columns at a time instead of 128 (decision 0041).
    """

    name: ClassVar[str] = "sparsegpt"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "dense"})
    adds: ClassVar[frozenset[str]] = frozenset({"sparse"})
    removes: ClassVar[frozenset[str]] = frozenset({"dense"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Settings of a mask, and `damping`: share of the mean diagonal added to the Hessian."""
        from jettison.numerics.mask_plans import mask_ranges

        return {**mask_ranges(), "damping": FloatRange(1e-3, 1.0, 1e-2, logarithmic=True)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """None in time and in the size of files."""
        from jettison.numerics.mask_plans import mask_potential

        return mask_potential()

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Runs the fitting rows, prunes layer after layer, recomputes BatchNorm, saves.

        Raises:
            NothingChanged: if there is nothing to prune, or no weight became zero.
            CandidateFailed: for settings out of range, or inputs of a layer that are not finite or
                all zero; names the layer.
        """
        from jettison.graphs.torch_inputs import column_groups
        from jettison.graphs.torch_masking import open_masking
        from jettison.numerics.input_sums import Moments

        damping = float(settings.get("damping", 1e-2))
        if not damping > 0.0:
            raise CandidateFailed(f"`damping` is {damping:g}: give a number above 0")
        piece = open_masking(model, settings, fitting, bench)

        def begin(layer: PrunableLayer) -> Moments:
            return Moments(*column_groups(layer), layer.module.weight.device)

        def edit(layer: PrunableLayer, seen: Moments) -> None:
            prune(piece, layer, seen, damping)

        piece.visit(begin, edit)
        how = "by the error of each layer's answers, the rest of each row making up for them"
        return piece.finish(how, bench, self)


def prune(piece: Masking, layer: PrunableLayer, seen: Moments, damping: float) -> None:
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
