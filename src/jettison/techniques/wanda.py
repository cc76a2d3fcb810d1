"""Wanda: the weights whose products are smallest are set to zero, in each output row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData

if TYPE_CHECKING:
    from jettison.graphs.torch_layers import PrunableLayer
    from jettison.graphs.torch_masking import Masking
    from jettison.numerics.input_sums import Norms


class Wanda:
    """Sets weights to zero by their size times the length of their input; needs no labels.

    The score of weight (i, j) is |W_ij| * ||x_j||, over all positions of the fitting rows, and
    scores are compared within a row i. Source: Sun et al., A simple and effective pruning approach
    for large language models, ICLR 2024, arXiv 2306.11695, equation 1.
    """

    name: ClassVar[str] = "wanda"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "dense"})
    adds: ClassVar[frozenset[str]] = frozenset({"sparse"})
    removes: ClassVar[frozenset[str]] = frozenset({"dense"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Settings of a mask: `sparsity`, `pattern`, `keep_outer`, `layers`."""
        from jettison.numerics.mask_plans import mask_ranges

        return mask_ranges()

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
        from jettison.numerics.input_sums import Norms

        piece = open_masking(model, settings, fitting, bench)

        def begin(layer: PrunableLayer) -> Norms:
            return Norms(*column_groups(layer), layer.module.weight.device)

        def edit(layer: PrunableLayer, seen: Norms) -> None:
            piece.apply_mask(layer, mask_of(piece, layer, seen.norms))

        piece.visit(begin, edit)
        return piece.finish("by |weight| times the norm of its input", bench, self)


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
