"""Dynamic int8 in PyTorch: linear layers in 8 bits, activations rounded while they run."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.int8_settings import layers_in_float
from jettison.numerics.speed_bounds import int8_bound

LINEAR = ("Linear",)
ENGINES = ("x86", "onednn")


class TorchDynamicInt8:
    """Quantizes linear layers, one scale for each output; look-up tables stay in float.

    PyTorch's own default has one scale for a whole matrix, which costs transformers much quality.
    Settings: `engine` (library of kernels), `exclude_layers`, `keep_float` (patterns of names).
    """

    name: ClassVar[str] = "torch_dynamic_int8"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "matmul"})
    adds: ClassVar[frozenset[str]] = frozenset({"int8", "packed"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32", "dense", "attention"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """The library of kernels, and how many layers stay in float."""
        space: dict[str, Range] = {
            "engine": Choices(ENGINES, ENGINES[0]),
            "keep_float": Choices(("",), "", others=True),
        }
        return {**space, **layers_in_float(profile, LINEAR)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Amdahl's bound over linear layers."""
        bound = int8_bound(profile, LINEAR, LINEAR)
        return Potential(bound.speedup, bound.size_ratio, bound.reason)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Rounds the weights and saves them with the program.

        Raises:
            NothingChanged: if the model has no linear layer, or all stay in float.
            CandidateFailed: for a setting out of range, or a model that can't be exported.
        """
        from torch import nn

        from jettison.graphs.torch_packing import Packed
        from jettison.graphs.torch_quantize import quantized_layers
        from jettison.graphs.torch_quantize_piece import on_the_bench
        from jettison.graphs.torch_quantized import Quantized

        engine = str(settings.get("engine", ENGINES[0]))
        if engine not in ENGINES:
            raise CandidateFailed(
                f"`engine` of `torch_dynamic_int8` must be one of {', '.join(ENGINES)}; got "
                f"{engine!r}"
            )
        piece = on_the_bench(model, settings, fitting, bench, (nn.Linear,))
        packed = {name: Packed.of(layer.weight) for name, layer in piece.layers.items()}
        native = Quantized(piece.program, "dynamic", packed, {"engine": engine})
        saved = bench.save(native, "torch_quantized", model)
        rounded = quantized_layers(bench.open(saved))
        change = Change(
            f"{rounded} of {len(piece.layers) + len(piece.spared)} Linear to int8, one scale per "
            f"output, activations rounded in each call{piece.told}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=rounded,
            weights=piece.weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
