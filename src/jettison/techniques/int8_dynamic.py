"""Dynamic int8: 8-bit weights on disk, activations rounded while the model runs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import NothingChanged
from jettison.graphs.int8_settings import layers_in_float, reduced_range, smoothing_tried

PRODUCTS = ("Attention", "Gemm", "MatMul")
TABLES = ("EmbedLayerNormalization", "Gather")
"""Look-up tables: stored in 8 bits, not computed in them."""

RUN_AS = ("FusedGemm", "FusedMatMul")
"""What the runtime calls products that it merged with what follows."""


class Int8Dynamic:
    """Quantizes products and look-up tables; needs no ranges, so no fitting rows to begin with."""

    name: ClassVar[str] = "int8_dynamic"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"int8"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Settings: `per_channel`, `reduce_range`, and `exclude_layers` where layers abound."""
        space: dict[str, Range] = {
            "per_channel": Choices((True, False), default=True),
            "reduce_range": reduced_range(profile, early=True),
            "smoothing": smoothing_tried(model, at_first=False),
            "keep_float": Choices(("",), "", others=True),
        }
        return {**space, **layers_in_float(profile, (*PRODUCTS, *TABLES, *RUN_AS))}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Amdahl's bound over products; convolutions are refused, with what was measured."""
        from jettison.numerics.speed_bounds import int8_bound

        if "matmul" not in model.traits:
            if "convolution" in model.traits:
                return Refusal(
                    self.name,
                    "the only layers with weights are convolutions, and those run slower here when "
                    "their activations are rounded while they run (0.2 to 0.4x as fast, measured "
                    "on CPUs without VNNI)",
                )
            return Refusal(
                self.name,
                "the graph has no matrix product with constant weights, so there is nothing to "
                "compute in 8 bits",
            )
        bound = int8_bound(profile, (*PRODUCTS, *RUN_AS), (*PRODUCTS, *TABLES, *RUN_AS))
        rest = ""
        if "convolution" in model.traits:
            rest = "; convolutions stay in float, because dynamic int8 makes them slower here"
        return Potential(bound.speedup, bound.size_ratio, bound.reason + rest)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Prepares the graph, replaces products by integer ones, counts, saves.

        Raises:
            NothingChanged: if no operator of the saved graph has 8-bit weights.
            CandidateFailed: if the graph can't be prepared or quantized; says why.
        """
        from jettison.graphs import onnx_layers, onnx_quantize, onnx_spared
        from jettison.graphs.onnx_smooth_piece import smoothed_if
        from jettison.graphs.onnx_storage import read_light
        from jettison.graphs.onnx_workpiece import on_the_bench

        chosen = (*PRODUCTS, *TABLES)
        rounding = onnx_quantize.Rounding(
            per_channel=bool(settings.get("per_channel", True)),
            reduce_range=bool(settings.get("reduce_range", not bench.device.has_int8_dot_products)),
            operators=("Attention", "EmbedLayerNormalization", "Gather", "MatMul"),
        )
        wish = onnx_spared.Wish.of(settings, self.name)
        with on_the_bench(model, fitting, bench) as prepared:
            piece, smoothed = smoothed_if(
                prepared, wanted=bool(settings.get("smoothing", False)), whole_range=True
            )
            layers = onnx_layers.quantizable_layers(piece.light, chosen)
            inside = onnx_layers.layers_in_branches(piece.light, PRODUCTS)
            if not layers and not inside:
                raise NothingChanged("no product or table of this graph has constant float weights")
            spared = onnx_spared.spared(piece, layers, wish, per_channel=rounding.per_channel)
            rounding = dataclasses.replace(rounding, spared=spared)
            quantized = onnx_quantize.quantize_dynamic(piece.graph, rounding, branches=inside > 0)
            weights = onnx_layers.weight_count(piece.light, layers, spared)
        saved = bench.save(quantized, "onnx_file", model)
        counts = onnx_quantize.count_quantized(read_light(saved.artifact.path), layers)
        if not sum(counts.values()):
            raise NothingChanged(
                f"none of {len(layers) + inside} operators has 8-bit weights after quantization; "
                f"{len(spared)} were excluded"
            )
        # The quantizer takes Gemm apart into MatMul and Add.
        there = Counter("MatMul" if c.operator == "Gemm" else c.operator for c in layers)
        there["MatMul"] += inside
        change = Change(
            f"{onnx_quantize.describe_counts(counts, there)} to int8, "
            f"{onnx_quantize.describe_rounding(rounding)}{f'; {smoothed}' if smoothed else ''}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=sum(counts.values()),
            weights=weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
