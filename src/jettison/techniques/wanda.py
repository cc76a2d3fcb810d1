"""Wanda: the weights whose products are smallest are set to zero, in each output row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.graphs.mask_technique import MaskTechnique

if TYPE_CHECKING:
    from jettison.graphs.torch_layers import PrunableLayer
    from jettison.graphs.torch_masking import Masking
    from jettison.numerics.input_sums import Norms


class Wanda(MaskTechnique):
    """Sets weights to zero by their size times the length of their input; needs no labels.

    The score of weight (i, j) is |W_ij| * ||x_j||, over all positions of the fitting rows, and
    scores are compared within a row i. Inputs that are 0 in all fitting rows lose their weights
    first, also where other rows use them. Source: Sun et al., A simple and effective pruning
    approach for large language models, ICLR 2024, arXiv 2306.11695, equation 1.
    """

    name: ClassVar[str] = "wanda"

    def prune(self, piece: Masking, settings: Settings, fitting: FittingData) -> str:
        """Runs the fitting rows and prunes layer after layer.

        Raises:
            CandidateFailed: for inputs of a layer that are not finite or all zero; names it.
        """
        from jettison.graphs.torch_inputs import column_groups
        from jettison.numerics.input_sums import Norms

        def begin(layer: PrunableLayer) -> Norms:
            return Norms(*column_groups(layer), layer.module.weight.device)

        def edit(layer: PrunableLayer, seen: Norms) -> None:
            piece.apply_mask(layer, mask_of(piece, layer, seen.norms))

        piece.visit(begin, edit)
        return "by |weight| times the norm of its input"


def mask_of(piece: Masking, layer: PrunableLayer, norms: Any) -> Any:
    """The mask of a layer, shape (out, columns), from its inputs' norms, (groups, columns)."""
    from jettison.graphs.torch_layers import weight_matrix
    from jettison.numerics.masks import largest_per_row, pruned_count

    weights = weight_matrix(layer)
    rows = len(weights) // len(norms)
    scores = weights.abs() * norms.to(weights.dtype).repeat_interleave(rows, 0)
    if piece.pattern is not None:
        return piece.n_of_m(layer, scores)
    columns = scores.shape[1]
    return largest_per_row(scores, columns - pruned_count(columns, piece.sparsity))
