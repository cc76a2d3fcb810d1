"""Static int8 by NNCF: 8-bit products and convolutions of an OpenVINO graph, ranges from rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.int8_settings import layers_in_float
from jettison.graphs.openvino_ir import read_ir
from jettison.graphs.openvino_quantize import (
    BIAS_CORRECTIONS,
    HALF_RANGES,
    Rounding,
    calibration_rows,
    count_integers,
    quantize,
)
from jettison.graphs.openvino_trials import spared
from jettison.numerics.speed_bounds import int8_bound

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul")
TABLES = ("Gather",)
PRESETS = ("performance", "mixed")
ROWS = (300, 100, 30)


class NncfInt8:
    """Quantizes products and convolutions with NNCF, the most sensitive layers apart.

    Settings: `preset` (`performance` rounds activations around 0, `mixed` gives them a zero
    point), `bias_correction`, `half_range` (which weights use 7 of the 8 bits), `rows`,
    `transformer`, and `exclude_layers`.
    """

    name: ClassVar[str] = "nncf_int8"
    requires: ClassVar[frozenset[str]] = frozenset({"openvino", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"int8"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("openvino", "nncf")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Starts from what NNCF does by default, but for weights that could saturate here."""
        transformer = "attention" in model.traits
        space: dict[str, Range] = {
            "preset": Choices(PRESETS, "mixed" if transformer else "performance"),
            "bias_correction": Choices(BIAS_CORRECTIONS, "fast"),
            # Two u8s8 products can exceed 16 bits where they are added in pairs.
            "half_range": Choices(
                HALF_RANGES, "none" if profile.device.has_int8_dot_products else "all"
            ),
            "rows": Choices(ROWS, ROWS[0]),
        }
        if transformer:
            space["transformer"] = Choices((True, False), default=True)
        return {**space, **layers_in_float(profile, PRODUCTS)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Amdahl's bound over products and convolutions."""
        if not model.traits & {"matmul", "convolution"}:
            return Refusal(
                self.name,
                "the graph has no matrix product and no convolution with constant weights, so "
                "there is nothing to compute in 8 bits",
            )
        bound = int8_bound(profile, PRODUCTS, (*PRODUCTS, *TABLES))
        return Potential(bound.speedup, bound.size_ratio, bound.reason)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Finds ranges, rounds, corrects biases, counts, saves.

        Raises:
            NothingChanged: if no layer of the saved graph has 8-bit weights.
            CandidateFailed: for a setting or a calibration row that can't be used, or if NNCF
                fails; says why.
        """
        graph = read_ir(Path(bench.open(model)))
        rounding = _rounding(model, settings, fitting, bench, graph)
        rows = list(calibration_rows(model, fitting, rounding.rows))
        with running():
            quantized = quantize(graph, rows, rounding)
        counted = count_integers(graph, quantized)
        if not counted.layers:
            raise NothingChanged(
                "NNCF rounded no layer: no product and no convolution of this graph has constant "
                f"float weights, or all were excluded ({len(rounding.spared)})"
            )
        saved = bench.save(quantized, "openvino_ir", model)
        bits = {"all": "7-bit weights", "first": "7-bit weights in the first layers"}
        left = f"left in float: {', '.join(rounding.spared)}" if rounding.spared else ""
        how = (bits.get(rounding.half_range, ""), f"ranges from {len(rows)} rows", left)
        change = Change(
            f"{counted.told}, {', '.join(part for part in how if part)}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=counted.layers,
            weights=counted.weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _rounding(
    model: Model, settings: Settings, fitting: FittingData, bench: Workbench, graph: Any
) -> Rounding:
    transformer = bool(settings.get("transformer", "attention" in model.traits))
    safe = "none" if bench.device.has_int8_dot_products else "all"
    rows = int(settings.get("rows", ROWS[0]))
    if rows < 1:
        raise CandidateFailed(f"`rows` of `nncf_int8` must be at least 1; got {rows}")
    preset = _choice(settings, "preset", PRESETS, "mixed" if transformer else "performance")
    return Rounding(
        symmetric=preset == "performance",
        bias_correction=_choice(settings, "bias_correction", BIAS_CORRECTIONS, "fast"),
        half_range=_choice(settings, "half_range", HALF_RANGES, safe),
        transformer=transformer,
        rows=rows,
        spared=spared(graph, int(settings.get("exclude_layers", 0)), model, fitting, bench),
    )


def _choice(settings: Settings, name: str, allowed: tuple[str, ...], default: str) -> str:
    value = str(settings.get(name, default))
    if value not in allowed:
        raise CandidateFailed(
            f"`{name}` of `nncf_int8` must be one of {', '.join(allowed)}; got {value!r}"
        )
    return value
