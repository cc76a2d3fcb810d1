"""Static int8: 8-bit weights and activations, with ranges found beforehand on the fitting rows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, IntegerRange, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged

if TYPE_CHECKING:
    from jettison.graphs.onnx_workpiece import Workpiece
    from jettison.numerics.calibration import Calibrator

PRODUCTS = ("Gemm", "MatMul")
TABLES = ("Gather",)
"""Look-up tables: often half of the bytes of a transformer, stored in 8 bits as well."""

CONVOLUTIONS = ("Conv", "ConvTranspose")
CARRIED = ("Clip", "MaxPool", "Relu")
"""They hand 8-bit values on, so that two convolutions stay connected without going to float."""

ROUTED = (
    *CARRIED,
    "Add",
    "AveragePool",
    "Concat",
    "GlobalAveragePool",
    "Mul",
    "Sigmoid",
    "Softmax",
)
RUN_AS = ("FusedConv", "FusedGemm", "FusedMatMul", "NhwcFusedConv")
"""What the runtime calls products and convolutions that it merged with what follows."""

CALIBRATORS = ("minmax", "percentile_99.9", "percentile_99.99", "percentile_99.999")
"""How ranges are found: everything seen, or the middle part. One setting, not two: a percentage
beside `minmax` would be tried again and again to no effect."""

Span = tuple[float, float]


class Int8Static:
    """Quantizes products and convolutions to u8 activations times s8 weights (QDQ)."""

    name: ClassVar[str] = "int8_static"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"int8"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Settings: `per_channel`, `reduce_range`, `operators`, `calibrator`, and
        `exclude_layers` where there are enough layers to spare one.
        """
        operators = _operator_choices(model)
        space: dict[str, Range] = {
            "per_channel": Choices((True, False), default=True),
            # Two u8s8 products can exceed 16 bits where they are added in pairs.
            "reduce_range": Choices(
                (True, False), default=not profile.device.has_int8_dot_products
            ),
            "operators": Choices(operators, operators[0]),
            "calibrator": Choices(CALIBRATORS, CALIBRATORS[0]),
        }
        layers = [c for c in profile.layers if c.operator in (*PRODUCTS, *CONVOLUTIONS, *RUN_AS)]
        most = min(8, len(layers) // 4) if layers else 4
        if most > 0:
            space["exclude_layers"] = IntegerRange(0, most, 0)
        return space

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Amdahl's bound over products, convolutions and what stays in 8 bits between them."""
        from jettison.numerics.speed_bounds import int8_bound

        if not model.traits & {"matmul", "convolution"}:
            return Refusal(
                self.name,
                "the graph has no matrix product and no convolution with constant weights, so "
                "there is nothing to compute in 8 bits",
            )
        products = (*PRODUCTS, *CONVOLUTIONS, *RUN_AS)
        bound = int8_bound(profile, (*products, *ROUTED), (*products, *TABLES))
        risk = ""
        if not profile.device.has_int8_dot_products:
            risk = (
                "; 8-bit weights may saturate without it, so 7-bit weights (reduce_range) are tried"
            )
        return Potential(bound.speedup, bound.size_ratio, bound.reason + risk)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Prepares the graph, finds ranges (once for all settings), inserts QDQ, counts, saves.

        Raises:
            NothingChanged: if no operator of the saved graph has 8-bit weights.
            CandidateFailed: if the graph can't be prepared, watched or quantized; says why.
        """
        from jettison.graphs import onnx_layers, onnx_quantize
        from jettison.graphs.onnx_storage import read_light
        from jettison.graphs.onnx_workpiece import on_the_bench
        from jettison.numerics.sensitivity import spared_layers

        choice = str(settings.get("operators", _operator_choices(model)[0]))
        chosen = _operators(choice)
        rounding = onnx_quantize.Rounding(
            per_channel=bool(settings.get("per_channel", True)),
            reduce_range=bool(settings.get("reduce_range", not bench.device.has_int8_dot_products)),
            operators=chosen,
            # What follows a product reads floats anyway, unless it is quantized too.
            float_outputs=() if choice == "all" else PRODUCTS,
        )
        with on_the_bench(model, fitting, bench) as piece:
            layers = onnx_layers.quantizable_layers(piece.light, chosen)
            if not layers:
                raise NothingChanged(_why_nothing(piece.light))
            spared = spared_layers(
                int(settings.get("exclude_layers", 0)),
                {layer.node for layer in onnx_layers.sparable(piece.light, layers)},
                [layer.node for layer in piece.every_layer()],
                piece.memory("sensitivity", rounding.per_channel),
                lambda: piece.trials(per_channel=rounding.per_channel),
            )
            rounding = dataclasses.replace(rounding, spared=spared)
            ranges = _ranges(piece, chosen, settings)
            quantized = onnx_quantize.quantize_static(piece.graph, ranges, rounding)
            weights = onnx_layers.weight_count(piece.light, layers, spared)
            untouched = Counter(c.operator for c in piece.every_layer() if c not in layers)
        saved = bench.save(quantized, "onnx_file", model)
        counts = onnx_quantize.count_quantized(read_light(saved.artifact.path), layers)
        if not sum(counts.values()):
            raise NothingChanged(
                f"none of {len(layers)} operators has 8-bit weights after quantization; "
                f"{len(spared)} were excluded"
            )
        others = ", ".join(f"{n} {kind}" for kind, n in sorted(untouched.items()))
        change = Change(
            f"{onnx_quantize.describe_counts(counts, Counter(layer.operator for layer in layers))} to int8, "
            f"{onnx_quantize.describe_rounding(rounding)}, ranges by {_calibrator_name(settings)}"
            f"{f'; {others} left in float' if others else ''}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=sum(counts.values()),
            weights=weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _operator_choices(model: Model) -> tuple[str, ...]:
    """What the graph has, the widest choice of products and convolutions first."""
    conv, matmul = "convolution" in model.traits, "matmul" in model.traits
    if conv and matmul:
        return ("conv+matmul", "conv", "matmul", "all")
    return ("conv", "all") if conv else ("matmul", "all")


def _operators(choice: str) -> tuple[str, ...]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    groups = {
        "conv": (*CONVOLUTIONS, *CARRIED),
        "matmul": (*PRODUCTS, *TABLES),
        "conv+matmul": (*CONVOLUTIONS, *CARRIED, *PRODUCTS, *TABLES),
        "all": tuple({**QDQRegistry, **QLinearOpsRegistry}),
    }
    if choice not in groups:
        raise CandidateFailed(
            f"`operators` of `int8_static` must be one of {', '.join(groups)}; got {choice!r}"
        )
    return tuple(sorted(groups[choice]))


def _ranges(piece: Workpiece, chosen: tuple[str, ...], settings: Settings) -> Mapping[str, Span]:
    """The range of every activation around the chosen operators."""
    from jettison.graphs.onnx_taps import Taps
    from jettison.numerics.calibration import Histogram, remembered, watch

    calibrator = _calibrator(settings)

    def find() -> dict[str, Histogram]:
        stored = {tensor.name for tensor in piece.light.graph.initializer}
        around = {
            name
            for node in piece.light.graph.node
            if node.op_type in chosen
            for name in (*node.input, *node.output)
            if name and name not in stored
        }
        taps = Taps(piece.graph, around, threads=1)
        return watch(taps.names, piece.batches(), taps.run)

    with running():
        seen = remembered(piece.memory("ranges", chosen), find)
    return {name: calibrator.range(histogram) for name, histogram in seen.items()}


def _calibrator(settings: Settings) -> Calibrator:
    from jettison.numerics.calibration import MinMax, Percentile

    choice = _calibrator_name(settings)
    kind, _, percentage = choice.partition("_")
    if choice == "minmax":
        return MinMax()
    if kind == "percentile" and _is_percentage(percentage):
        return Percentile(float(percentage))
    raise CandidateFailed(
        f"`calibrator` of `int8_static` must be `minmax`, or `percentile_` and a number above 50 "
        f"and at most 100, such as `{CALIBRATORS[1]}`; got {choice!r}"
    )


def _is_percentage(text: str) -> bool:
    try:
        return 50.0 < float(text) <= 100.0
    except ValueError:
        return False


def _calibrator_name(settings: Settings) -> str:
    return str(settings.get("calibrator", CALIBRATORS[0]))


def _why_nothing(light: Any) -> str:
    from jettison.graphs.onnx_layers import layers_in_branches

    inside = layers_in_branches(light, (*PRODUCTS, *CONVOLUTIONS))
    if inside:
        return (
            f"the {inside} products and convolutions of this graph lie inside `If` branches or "
            "loop bodies, where activation ranges can't be watched"
        )
    return "no chosen operator of this graph has constant float weights"
