"""A PyTorch model whose weights are being set to zero: opened, counted, and put away again.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.recipe import Change
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.torch_batchnorm import batch_norms, recalibrate
from jettison.graphs.torch_inputs import TensorBatch, batches_of, calls, visit
from jettison.graphs.torch_layers import (
    PrunableLayer,
    n_of_m_mask,
    outer_layers,
    prunable_layers,
    weight_matrix,
)
from jettison.graphs.torch_row_loss import mixed_order
from jettison.numerics.input_sums import InputSum
from jettison.numerics.masks import check_sparsity, pattern_of

__all__ = ["Masking", "open_masking"]

Sum = TypeVar("Sum", bound=InputSum)

FEWEST_ROWS = 8
"""Rows of a batch below which it says little of how far all rows are apart."""


@dataclass(frozen=True, slots=True)
class Masking:
    """An opened model on its way to a sparser one.

    Attributes:
        model: as it was given.
        module: the opened module; edits change it.
        layers: to prune, in the order of their calls.
        sparsity: the share of their weights to set to zero.
        pattern: n and m, or `None` for an unstructured mask.
        batches: the fitting rows.
        left: names of layers that are not pruned, though they match, with the reason.
        zeros: weights of `layers` that were zero before.
    """

    model: Model
    module: Any
    layers: tuple[PrunableLayer, ...]
    sparsity: float
    pattern: tuple[int, int] | None
    batches: tuple[TensorBatch, ...]
    left: Mapping[str, str]
    zeros: int

    def visit(
        self,
        begin: Callable[[PrunableLayer], Sum],
        edit: Callable[[PrunableLayer, Sum], None],
    ) -> None:
        """Sums each layer's inputs and edits it, one layer after the other (`torch_inputs.visit`)."""
        with running():
            visit(self.module, self.layers, self.batches, begin, edit)

    def apply_mask(self, layer: PrunableLayer, mask: Any) -> None:
        """Sets the weights of a layer to zero where a mask of its matrix's shape is false."""
        weight_matrix(layer).masked_fill_(~mask, 0.0)

    def n_of_m(self, layer: PrunableLayer, scores: Any) -> Any:
        """The mask of the pattern for scores of the shape of a layer's matrix."""
        if self.pattern is None:
            raise CandidateFailed("an unstructured mask has no n and m")
        return n_of_m_mask(layer, scores, *self.pattern)

    def put_away(self, how: str, bench: Workbench, technique: Any, norms: int = 0) -> Applied:
        """Counts and saves.

        Args:
            how: what chose the weights («by magnitude»).
            bench: of the step.
            technique: whose traits the model gets.
            norms: BatchNorm layers whose statistics were recomputed.

        Raises:
            NothingChanged: if no weight became zero.
        """
        total = sum(layer.count for layer in self.layers)
        zeros = _zeros(self.layers)
        if zeros <= self.zeros:
            raise NothingChanged(
                f"{self.zeros:,} of {total:,} weights were zero before, and {zeros:,} are now: ask "
                "for a larger `sparsity`, or other `layers`"
            )
        saved = bench.save(self.module, self.model.artifact.format, self.model)
        parts = [
            f"{zeros:,} of {total:,} weights in {len(self.layers)} layers are zero "
            f"({zeros / total:.1%}), chosen {how}; they are stored and multiplied like the others"
        ]
        if norms:
            parts.append(f"statistics of {norms} BatchNorm layers recomputed")
        parts += [f"`{name}` left as it was: {reason}" for name, reason in self.left.items()]
        change = Change("; ".join(parts), len(self.layers), zeros - self.zeros)
        model = saved.with_traits(add=technique.adds, remove=technique.removes)
        return Applied(model, (change,))

    def recalibrate(self, fitting: FittingData) -> int:
        """Recomputes BatchNorm statistics on the fitting rows, mixed; gives the number of layers.

        With fewer than `FEWEST_ROWS` in a batch the statistics stay as they are.
        """
        if not batch_norms(self.module):
            return 0
        batches = batches_of(self.model, fitting, order=mixed_order(fitting).numpy())
        sizes = [len(next(iter(batch.inputs.values()))) for batch in batches]
        if sizes[0] < FEWEST_ROWS:
            return 0
        # A smaller last batch would weigh as much as the others.
        whole = [b.inputs for b, size in zip(batches, sizes, strict=True) if size == sizes[0]]
        with running():
            return recalibrate(self.module, whole)


def open_masking(
    model: Model, settings: Settings, fitting: FittingData, bench: Workbench
) -> Masking:
    """Opens a model, finds the layers to prune, and reads the settings of `mask_ranges`.

    Raises:
        NothingChanged: if no layer can be pruned.
        CandidateFailed: for settings out of range, patterns without a match, no fitting row.
    """
    pattern = pattern_of(str(settings.get("pattern", "unstructured")))
    if pattern is None:
        sparsity = check_sparsity(float(settings.get("sparsity", 0.5)))
    else:
        sparsity = 1.0 - pattern[0] / pattern[1]
    module = bench.open(model)
    found = prunable_layers(module, str(settings.get("layers", "")))
    batches = batches_of(model, fitting)
    with running():
        used = tuple(calls(module, found, batches[0]))
    left = {layer.name: "the answers don't need it" for layer in found if layer not in used}
    if settings.get("keep_outer", False):
        # Outermost in the whole model, not among the layers that were asked for.
        with running():
            every = tuple(calls(module, prunable_layers(module), batches[0]))
        ends = set(outer_layers(every))
        left |= {layer.name: "it is the first or the last" for layer in used if layer.name in ends}
        used = tuple(layer for layer in used if layer.name not in ends)
    if not used:
        raise NothingChanged(
            "no layer is left to prune: "
            + "; ".join(f"`{name}`: {reason}" for name, reason in left.items())
        )
    return Masking(model, module, used, sparsity, pattern, batches, left, _zeros(used))


def _zeros(layers: tuple[PrunableLayer, ...]) -> int:
    return sum(layer.count - int(layer.module.weight.count_nonzero()) for layer in layers)
