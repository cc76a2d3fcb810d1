"""Magnitude pruning: the smallest weights are set to zero."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Choices, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData


class MagnitudePruning:
    """Sets the smallest weights of linear layers and convolutions to zero; needs no labels."""

    name: ClassVar[str] = "magnitude_pruning"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "dense"})
    adds: ClassVar[frozenset[str]] = frozenset({"sparse"})
    removes: ClassVar[frozenset[str]] = frozenset({"dense"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Settings of a mask, and `budget`: one threshold for all layers, or one for each."""
        from jettison.numerics.mask_plans import mask_ranges

        return {**mask_ranges(), "budget": Choices(("global", "per_layer"), "global")}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """None in time and in the size of files."""
        from jettison.numerics.mask_plans import mask_potential

        return mask_potential()

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Ranks weights by size, sets the smallest to zero, recomputes BatchNorm, saves.

        Raises:
            NothingChanged: if there is nothing to prune, or no weight became zero.
            CandidateFailed: for settings out of range; says what is allowed.
        """
        from jettison.graphs.torch_layers import weight_matrix
        from jettison.graphs.torch_masking import open_masking
        from jettison.numerics.masks import largest, largest_of_all, pruned_count

        piece = open_masking(model, settings, fitting, bench)
        sizes = [weight_matrix(layer).abs() for layer in piece.layers]
        if piece.pattern is not None:
            how = "by magnitude among neighbouring inputs"
            masks = [
                piece.n_of_m(layer, size) for layer, size in zip(piece.layers, sizes, strict=True)
            ]
        elif settings.get("budget", "global") == "global":
            how = "by magnitude over all layers"
            total = sum(size.numel() for size in sizes)
            masks = largest_of_all(sizes, total - pruned_count(total, piece.sparsity))
        else:
            how = "by magnitude in each layer"
            keeps = [size.numel() - pruned_count(size.numel(), piece.sparsity) for size in sizes]
            masks = [largest(size, keep) for size, keep in zip(sizes, keeps, strict=True)]
        for layer, mask in zip(piece.layers, masks, strict=True):
            piece.apply_mask(layer, mask)
        return piece.finish(how, bench, self)
