"""Static int8 for PyTorch's compiler, by torchao's PT2E."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import NothingChanged
from jettison.graphs.int8_settings import layers_in_float, reduced_range
from jettison.numerics.speed_bounds import int8_bound

PRODUCTS = ("Conv2d", "Linear")
ROUTED = ("BatchNorm2d",)
ROWS = (300, 100, 30)


class Pt2eInt8:
    """Rounds weights and activations of convolutions and linear layers; made fast by compiling.

    Settings: `reduce_range` (activations use 7 of the 8 bits), `rows`, `exclude_layers`,
    `keep_float` (patterns of names).
    """

    name: ClassVar[str] = "pt2e_int8"
    requires: ClassVar[frozenset[str]] = frozenset({"torch", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"int8", "packed", "imitated"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32", "dense", "attention"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("torch", "torchao")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Range of activations, rows, and how many layers stay in float."""
        space: dict[str, Range] = {
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
        return Potential(
            bound.speedup, bound.size_ratio, f"{bound.reason}; only where it is compiled"
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Observes activations, rounds, counts, saves an ordinary program.

        Raises:
            NothingChanged: if no weight is rounded.
            CandidateFailed: if torchao can't follow the program; quotes its reason.
        """
        from jettison.graphs.torch_quantize_piece import on_the_bench
        from jettison.graphs.torch_quantize_pt2e import count_rounded, quantized

        reduced = bool(settings.get("reduce_range", not bench.device.has_int8_dot_products))
        piece = on_the_bench(model, settings, fitting, bench)
        rows = int(settings.get("rows", ROWS[0]))
        made = quantized(piece.program, piece.spared, fitting, rows, reduce_range=reduced)
        rounded = count_rounded(made)
        if not rounded:
            raise NothingChanged("torchao's quantizer rounded no weight of this model")
        saved = bench.save(made, "torch_program", model)
        bits = "7-bit activations" if reduced else "8-bit activations"
        change = Change(
            f"{rounded} of {len(piece.layers) + len(piece.spared)} layers to int8, {bits}, ranges "
            f"from {min(rows, fitting.rows.n)} rows{piece.told}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=rounded,
            weights=piece.weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
