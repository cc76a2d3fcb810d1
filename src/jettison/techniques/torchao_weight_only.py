"""Weight-only quantization in PyTorch by torchao: few bits on disk, float arithmetic."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.int8_settings import layers_in_float
from jettison.numerics.speed_bounds import streamed_bound

LINEAR = ("Linear",)
MODES = ("int8", "int4_32", "int4_64", "int4_128")
"""Bits, and for 4 bits the weights that share a scale: a group size says nothing beside 8 bits."""

STORED = 0.125


class TorchaoWeightOnly:
    """Stores the weights of linear layers in 8 or 4 bits; they are unpacked in each call.

    Settings: `mode`, `exclude_layers`, `keep_float` (patterns of names).
    """

    name: ClassVar[str] = "torchao_weight_only"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32", "matmul"})
    adds: ClassVar[frozenset[str]] = frozenset({"packed"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32", "dense", "attention"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch", "torchao")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """The bits; 8 are tried first, because they change the answers least."""
        space: dict[str, Range] = {
            "mode": Choices(MODES, MODES[0]),
            "keep_float": Choices(("",), "", others=True),
        }
        return {**space, **layers_in_float(profile, LINEAR)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """The bytes of the weights; time only where reading them takes longer than computing."""
        bound = streamed_bound(profile, LINEAR, STORED)
        return Potential(bound.speedup, bound.size_ratio, bound.reason)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Rounds the weights and saves them with the program.

        Raises:
            NothingChanged: if no linear layer can be stored so, or all stay in float.
            CandidateFailed: for a setting out of range, or a model that can't be exported.
        """
        from torch import nn

        from jettison.graphs.torch_quantize_piece import on_the_bench
        from jettison.graphs.torch_quantize_weights import rounded
        from jettison.graphs.torch_quantized import Quantized

        mode = str(settings.get("mode", MODES[0]))
        if mode not in MODES:
            raise CandidateFailed(
                f"`mode` of `torchao_weight_only` must be one of {', '.join(MODES)}; got {mode!r}"
            )
        kind, _, text = mode.partition("_")
        bits, group = (8 if kind == "int8" else 4), int(text or 0)
        piece = on_the_bench(model, settings, fitting, bench, (nn.Linear,))
        packed = {
            name: rounded(layer, bits, group)
            for name, layer in piece.layers.items()
            if not group or layer.in_features % group == 0
        }
        if not packed:
            raise NothingChanged(f"no linear layer has a multiple of {group} inputs")
        saved = bench.save(
            Quantized(piece.program, "weight-only", packed, {}), "torch_quantized", model
        )
        shared = f"one scale for {group} weights" if group else "one scale per output"
        change = Change(
            f"weights of {len(packed)} of {len(piece.layers) + len(piece.spared)} Linear in {bits} "
            f"bits, {shared}{piece.told}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=len(packed),
            weights=sum(int(one.integers.numel()) for one in packed.values()),
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
