"""Cross-layer equalisation: channels of neighbouring layers get the same range, before int8."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import NothingChanged


class CrossLayerEqualization:
    """Divides output channels of one layer and multiplies the next one's by the same scale."""

    name: ClassVar[str] = "cross_layer_equalization"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset()
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Nothing by itself: it makes a later step to int8 lose less."""
        if not model.traits & {"matmul", "convolution"}:
            return Refusal(self.name, "the graph has no layers whose channels could be equalised")
        return Potential(
            1.0,
            1.0,
            "it makes nothing faster or smaller: the answers stay, and int8 with one scale per tensor "
            "loses less after it (with one scale per channel it rarely matters)",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Folds BatchNorm, finds pairs of layers with only ReLU and pooling between, scales them.

        Raises:
            NothingChanged: if there is no such pair, or all are even already.
            CandidateFailed: if the graph can't be prepared; says why.
        """
        import onnx

        from jettison.graphs.onnx_equalise import equalise
        from jettison.graphs.onnx_workpiece import on_the_bench

        with on_the_bench(model, fitting, bench) as piece:
            graph = onnx.load(piece.graph)
            done = equalise(graph)
            if not done.pairs:
                raise NothingChanged(
                    "no two layers of this graph follow each other with only ReLU or pooling "
                    "between and have uneven channels, so there is nothing to equalise"
                )
            saved = bench.save(graph, "onnx_file", model)
            piece.check_same(Path(saved.artifact.path))
        change = Change(
            f"{done.pairs} pairs of layers equalised; channels were scaled by factors up to "
            f"{done.spread:.3g} apart",
            weights=done.weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
