"""Static int8 in PyTorch by FX graph mode: runs operator by operator on PyTorch's own kernels."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.int8_settings import layers_in_float, reduced_range
from jettison.numerics.speed_bounds import int8_bound

PRODUCTS = ("Conv1d", "Conv2d", "Conv3d", "Linear")
ROUTED = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")
CALIBRATORS = ("histogram", "minmax")
ENGINES = ("x86", "onednn")
ROWS = (300, 100, 30)


class TorchFxInt8:
    """Quantizes convolutions and linear layers, and what stays in 8 bits between convolutions.

    Settings: `engine` (library of kernels), `calibrator`, `reduce_range` (activations use 7 of the
    8 bits), `rows`, `exclude_layers`, `keep_float` (patterns of names).
    """

    name: ClassVar[str] = "torch_fx_int8"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"int8", "packed"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32", "dense", "attention"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Starts from PyTorch's defaults, but that weights have no -128."""
        space: dict[str, Range] = {
            "engine": Choices(ENGINES, ENGINES[0]),
            "calibrator": Choices(CALIBRATORS, CALIBRATORS[0]),
            "reduce_range": reduced_range(profile),
            "rows": Choices(ROWS, ROWS[0]),
            "keep_float": Choices(("",), "", others=True),
        }
        return {**space, **layers_in_float(profile, PRODUCTS)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Amdahl's bound over convolutions and linear layers."""
        if not model.traits & {"matmul", "convolution"}:
            return Refusal(self.name, "the model has no convolution and no linear layer")
        bound = int8_bound(profile, (*PRODUCTS, *ROUTED), PRODUCTS)
        return Potential(bound.speedup, bound.size_ratio, bound.reason)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Rounds weights, finds ranges, puts quantized layers together, counts, saves.

        Raises:
            NothingChanged: if no layer computes in 8 bits.
            CandidateFailed: for a setting out of range, or if FX can't follow the model.
        """
        from jettison.graphs.torch_packing import Packed
        from jettison.graphs.torch_quantize import Watched, quantized_layers
        from jettison.graphs.torch_quantize_piece import on_the_bench, rows_at_once, watch
        from jettison.graphs.torch_quantized import Quantized

        facts = {
            "engine": _choice(settings, "engine", ENGINES),
            "calibrator": _choice(settings, "calibrator", CALIBRATORS),
            "reduce_range": bool(
                settings.get("reduce_range", not bench.device.has_int8_dot_products)
            ),
        }
        piece = on_the_bench(model, settings, fitting, bench)
        facts["spared"] = list(piece.spared)
        packed = {name: Packed.of(layer.weight) for name, layer in piece.layers.items()}
        for name, layer in piece.layers.items():
            layer.weight.data = packed[name].weight()
        watched = Watched(piece.program, facts)
        most = int(settings.get("rows", ROWS[0]))
        rows = watch(watched.module, fitting, most, rows_at_once(piece.program))
        facts["ranges"] = watched.ranges()
        native = Quantized(piece.program, "static", packed, facts)
        saved = bench.save(native, "torch_quantized", model)
        rounded = quantized_layers(bench.open(saved))
        if not rounded:
            raise NothingChanged("no layer of this model computes in 8 bits afterwards")
        bits = "7-bit activations" if facts["reduce_range"] else "8-bit activations"
        change = Change(
            f"{rounded} of {len(piece.layers) + len(piece.spared)} layers to int8, {bits}, ranges "
            f"by {facts['calibrator']} from {rows} rows{piece.told}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=rounded,
            weights=piece.weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _choice(settings: Settings, name: str, allowed: tuple[str, ...]) -> str:
    value = str(settings.get(name, allowed[0]))
    if value not in allowed:
        raise CandidateFailed(
            f"`{name}` of `torch_fx_int8` must be one of {', '.join(allowed)}; got {value!r}"
        )
    return value
