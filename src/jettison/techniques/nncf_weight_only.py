"""Weight-only quantization by NNCF: few bits on disk, float arithmetic while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.openvino_ir import read_ir
from jettison.graphs.openvino_quantize import compress, count_integers
from jettison.numerics.speed_bounds import streamed_bound

MODES = ("int8", "int4_128", "int4_64", "int4_32")
"""Bits, and for 4 bits the weights that share a scale: a group size says nothing beside 8 bits."""

WEIGHTS = ("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul")
STORED = {"int8": 0.25, "int4": 0.125}
"""Bytes of a weight over the 4 of a float."""


class NncfWeightOnly:
    """Stores large weights in 8 or 4 bits; activations and sums stay in float.

    Rows don't influence each other, and no calibration rows are needed. Setting: `mode`.
    """

    name: ClassVar[str] = "nncf_weight_only"
    requires: ClassVar[frozenset[str]] = frozenset({"openvino", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset({"float32"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("openvino", "nncf")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """The bits; 8 are tried first, because they change the answers least."""
        modes = MODES if "matmul" in model.traits else MODES[:1]
        return {"mode": Choices(modes, modes[0])}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """The bytes of the weights; time only where reading them takes longer than computing."""
        if not model.traits & {"matmul", "convolution"}:
            return Refusal(
                self.name,
                "the graph has no matrix product and no convolution with constant weights",
            )
        smallest = STORED["int4"] if "matmul" in model.traits else STORED["int8"]
        bound = streamed_bound(profile, WEIGHTS, smallest)
        return Potential(bound.speedup, bound.size_ratio, bound.reason)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Rounds the weights, counts, saves.

        Raises:
            NothingChanged: if no layer of the saved graph has weights in 8 bits or fewer.
            CandidateFailed: for an unknown mode, or if NNCF fails; says why.
        """
        mode = str(settings.get("mode", MODES[0]))
        if mode not in MODES:
            raise CandidateFailed(
                f"`mode` of `nncf_weight_only` must be one of {', '.join(MODES)}; got {mode!r}"
            )
        kind, _, group = mode.partition("_")
        graph = read_ir(Path(bench.open(model)))
        compressed = compress(graph, 8 if kind == "int8" else 4, int(group or 0))
        counted = count_integers(graph, compressed)
        if not counted.layers:
            raise NothingChanged(
                "no layer of this graph has constant float weights to store smaller"
            )
        saved = bench.save(compressed, "openvino_ir", model)
        shared = f"one scale for {group} weights" if group else "one scale per channel"
        change = Change(
            f"weights of {counted.told}, {shared}; {model.artifact.size_bytes:,} to "
            f"{saved.artifact.size_bytes:,} bytes",
            operators=counted.layers,
            weights=counted.weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))
