"""Static int8: 8-bit weights and activations, with ranges found beforehand on the fitting rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.int8_settings import layers_in_float, reduced_range, smoothing_tried

if TYPE_CHECKING:
    from jettison.graphs.onnx_static import Order

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

CALIBRATORS = ("minmax", "mse", "held_out")
"""How the search finds ranges. The others lost where they were measured (docs/int8.md), and are
among what `held_out` compares; they may be asked for by name."""


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
            "reduce_range": reduced_range(profile),
            "operators": Choices(operators, operators[0]),
            "calibrator": Choices(CALIBRATORS, CALIBRATORS[0], others=True),
            "bias_correction": Choices((False, True), default=False),
            "smoothing": smoothing_tried(model, at_first=True),
            "signs": Choices(("u8s8",), "u8s8", others=True),
            "fallback": Choices((0.0, 0.05, 0.15), 0.0, others=True),
            "keep_float": Choices(("",), "", others=True),
        }
        return {**space, **layers_in_float(profile, (*PRODUCTS, *CONVOLUTIONS, *RUN_AS))}

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
        from jettison.graphs.onnx_static import static_int8
        from jettison.graphs.onnx_storage import read_light
        from jettison.graphs.onnx_workpiece import on_the_bench

        order = _order(model, settings, bench, self.name)
        with on_the_bench(model, fitting, bench) as piece:
            if not onnx_layers.quantizable_layers(piece.light, order.rounding.operators):
                raise NothingChanged(_why_nothing(piece.light))
            made = static_int8(piece, order)
            weights = onnx_layers.weight_count(piece.light, made.layers, made.rounding.spared)
            chosen = {layer.node for layer in made.layers}
            untouched = Counter(c.operator for c in piece.every_layer() if c.node not in chosen)
        saved = bench.save(made.model, "onnx_file", model)
        counts = onnx_quantize.count_quantized(read_light(saved.artifact.path), made.layers)
        if not sum(counts.values()):
            raise NothingChanged(
                f"none of {len(made.layers)} operators has 8-bit weights after quantization; "
                f"{len(made.rounding.spared)} were excluded"
            )
        told = [
            f"{onnx_quantize.describe_counts(counts, Counter(c.operator for c in made.layers))} to "
            f"int8, {onnx_quantize.describe_rounding(made.rounding)}, {made.chosen}"
        ]
        if untouched:
            others = ", ".join(f"{n} {kind}" for kind, n in sorted(untouched.items()))
            told.append(f"{others} left in float")
        size = f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes"
        what = "; ".join([*told, *made.notes, size])
        change = Change(what, sum(counts.values()), weights, made.warning)
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _operator_choices(model: Model) -> tuple[str, ...]:
    """What the graph has, the widest choice of products and convolutions first."""
    conv, matmul = "convolution" in model.traits, "matmul" in model.traits
    if conv and matmul:
        return ("conv+matmul", "conv", "matmul", "all")
    return ("conv", "all") if conv else ("matmul", "all")


def _order(model: Model, settings: Settings, bench: Workbench, name: str) -> Order:
    """Reads the settings.

    Raises:
        CandidateFailed: for one that there is not.
    """
    from jettison.graphs.onnx_quantize import SIGNS, Rounding
    from jettison.graphs.onnx_spared import Wish
    from jettison.graphs.onnx_static import Order

    choice = str(settings.get("operators", _operator_choices(model)[0]))
    signs = str(settings.get("signs", SIGNS[0]))
    if signs not in SIGNS:
        raise CandidateFailed(
            f"`signs` of `{name}` must be one of {', '.join(SIGNS)} (activations, then weights); "
            f"got {signs!r}"
        )
    rounding = Rounding(
        per_channel=bool(settings.get("per_channel", True)),
        reduce_range=bool(settings.get("reduce_range", not bench.device.has_int8_dot_products)),
        operators=_operators(choice),
        # What follows a product reads floats anyway, unless it is quantized too.
        float_outputs=() if choice == "all" else PRODUCTS,
        signs=signs,
    )
    return Order(
        rounding,
        Wish.of(settings, name),
        str(settings.get("calibrator", CALIBRATORS[0])),
        smoothing=bool(settings.get("smoothing", False)),
        correct=bool(settings.get("bias_correction", False)),
    )


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


def _why_nothing(light: Any) -> str:
    from jettison.graphs.onnx_layers import layers_in_branches

    inside = layers_in_branches(light, (*PRODUCTS, *CONVOLUTIONS))
    if inside:
        return (
            f"the {inside} products and convolutions of this graph lie inside `If` branches or "
            "loop bodies, where activation ranges can't be watched"
        )
    return "no chosen operator of this graph has constant float weights"
