"""Magnitude pruning: the smallest weights are set to zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from jettison.domain.recipe import Choices, Range
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.graphs.mask_technique import UNSTRUCTURED, MaskTechnique

if TYPE_CHECKING:
    from jettison.graphs.torch_masking import Masking

BUDGETS = ("global", "per_layer")


class MagnitudePruning(MaskTechnique):
    """Sets the smallest weights of linear layers and convolutions to zero; needs no labels.

    `budget` is one threshold for all layers (`global`), or one for each (`per_layer`).
    """

    name: ClassVar[str] = "magnitude_pruning"

    def own_ranges(self) -> Mapping[str, Range]:
        """A pattern n:m is the same share of every layer."""
        return {"budget": Choices(BUDGETS, BUDGETS[0], when=UNSTRUCTURED)}

    def prune(self, piece: Masking, settings: Settings, fitting: FittingData) -> str:
        """Ranks weights by size."""
        from jettison.graphs.torch_layers import weight_matrix
        from jettison.numerics.masks import largest, largest_of_all, pruned_count

        sizes = [weight_matrix(layer).abs() for layer in piece.layers]
        if piece.pattern is not None:
            how = "by magnitude among neighbouring inputs"
            masks = [
                piece.n_of_m(layer, size) for layer, size in zip(piece.layers, sizes, strict=True)
            ]
        elif settings.get("budget", BUDGETS[0]) == BUDGETS[0]:
            how = "by magnitude over all layers"
            total = sum(size.numel() for size in sizes)
            masks = largest_of_all(sizes, total - pruned_count(total, piece.sparsity))
        else:
            how = "by magnitude in each layer"
            keeps = [size.numel() - pruned_count(size.numel(), piece.sparsity) for size in sizes]
            masks = [largest(size, keep) for size, keep in zip(sizes, keeps, strict=True)]
        for layer, mask in zip(piece.layers, masks, strict=True):
            piece.apply_mask(layer, mask)
        return how
