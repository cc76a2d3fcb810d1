"""The conversion `transformer_fusion`: attention and its surroundings as single operators."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Artifact, Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import NothingChanged

FUSED = (
    "Attention",
    "MultiHeadAttention",
    "EmbedLayerNormalization",
    "SkipLayerNormalization",
    "LayerNormalization",
    "BiasGelu",
    "Gelu",
    "FastGelu",
)
"""Operators that fusion writes, in the order in which they are told."""

ATTENTION = frozenset({"Attention", "MultiHeadAttention"})

PRODUCTS = ("MatMul", "Gemm", "Linear", "FusedMatMul", "Conv", "FusedGemm")


class TransformerFusion:
    """Replaces patterns of many small operators by ONNX Runtime's own operators.

    It recognises what the tracing exporter writes with plain (`eager`) attention. Works on the
    graph alone; PyTorch is not needed.
    """

    name: ClassVar[str] = "transformer_fusion"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32", "attention"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset({"attention", "standard-operators"})
    conversion: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime", "sympy")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: approximations (fast GELU) are not used."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """All but the matrix products may vanish; these stay what they are."""
        products = profile.time_share_of(*PRODUCTS)
        if not products:
            return Potential(profile.bound, 1.0, "the share of matrix products is not known here")
        return Potential(
            speedup=1.0 / products,
            size_ratio=1.0,
            reason=f"{products:.0%} of the model's time are matrix products, which stay; the many "
            "small operators around them become a few",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Fuses, saves, and says how many operators were written.

        Raises:
            NothingChanged: if no attention was recognised.
            CandidateFailed: if the fusion code of onnxruntime fails on this graph.
        """
        from jettison.graphs.onnx_fusion import fuse, write_fused
        from jettison.graphs.onnx_storage import read_light

        path = Path(bench.open(model))
        before = _counts(read_light(path))
        graph = fuse(path)
        after = _counts(graph)
        written = {name: after[name] - before[name] for name in FUSED if after[name] > before[name]}
        if not written.keys() & ATTENTION:
            raise NothingChanged(
                "onnxruntime recognised no attention in this graph; it knows what "
                'attn_implementation="eager" and dynamo=False export'
            )
        files = write_fused(graph, path, bench.folder)
        artifact = Artifact.of(model.artifact.format, bench.folder, files)
        told = ", ".join(f"{number} {name}" for name, number in written.items())
        change = Change(
            f"{before.total()} operators became {after.total()}; written: {told}",
            operators=sum(written.values()),
        )
        fused = dataclasses.replace(
            model.with_traits(add=self.adds, remove=self.removes), artifact=artifact
        )
        return Applied(fused, (change,))


def _counts(graph: Any) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph.node)
