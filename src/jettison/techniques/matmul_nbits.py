"""Weight-only quantization for ONNX Runtime: few bits on disk, unpacked in each product."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Choices, Potential, Range, Ranges, Refusal
from jettison.domain.record import Scalar, Settings
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.int8_settings import layers_in_float
from jettison.graphs.onnx_weight_only import ACCURACY_LEVELS, BITS, BLOCKS, Packing
from jettison.numerics.speed_bounds import streamed_bound

if TYPE_CHECKING:
    from jettison.graphs.onnx_layers import Layer
    from jettison.graphs.onnx_workpiece import Workpiece

PRODUCTS = ("FusedGemm", "FusedMatMul", "Gemm", "MatMul")
TABLES = ("Gather",)
STORED = 0.125
"""Bytes of a weight in 4 bits over the 4 of a float, without its share of a scale."""

ALLOWED = {"bits": BITS, "block_size": BLOCKS, "accuracy_level": ACCURACY_LEVELS}


class MatmulNbits:
    """Stores constant matrices in 8 or 4 bits with a scale for each block (`MatMulNBits`).

    Rows don't influence each other, and no ranges are needed. Settings: `bits`, `block_size`,
    `symmetric`, `accuracy_level` (4 rounds activations to 8 bits), `tables` (also look-up tables,
    in 4 bits), `exclude_layers`, and `keep_float` (patterns of names).
    """

    name: ClassVar[str] = "matmul_nbits"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32", "matmul"})
    adds: ClassVar[frozenset[str]] = frozenset()
    removes: ClassVar[frozenset[str]] = frozenset({"float32", "standard-operators"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Begins with 8 bits, which change the answers least, and the smallest usual block."""
        space: dict[str, Range] = {
            "bits": Choices(BITS, BITS[0]),
            "block_size": Choices(BLOCKS, BLOCKS[0]),
            "symmetric": Choices((True, False), default=True),
            "accuracy_level": Choices(ACCURACY_LEVELS, ACCURACY_LEVELS[0]),
            "keep_float": Choices(("",), "", others=True),
        }
        if any(layer.operator in TABLES for layer in profile.layers):
            space["tables"] = Choices((False, True), default=False)
        return {**space, **layers_in_float(profile, PRODUCTS)}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """The bytes of the matrices; time only where reading them takes longer than computing."""
        bound = streamed_bound(profile, (*PRODUCTS, *TABLES), STORED)
        return Potential(bound.speedup, bound.size_ratio, bound.reason)

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Packs the weights, counts, saves.

        Raises:
            NothingChanged: if no product reads a constant matrix, or all of them are excluded.
            CandidateFailed: for a setting out of range, or if the quantizer fails; says why.
        """
        from jettison.graphs import onnx_quantize, onnx_weight_only
        from jettison.graphs.onnx_layers import weight_count
        from jettison.graphs.onnx_storage import read_light
        from jettison.graphs.onnx_workpiece import on_the_bench

        packing = _packing(settings)
        with on_the_bench(model, fitting, bench) as piece:
            layers = onnx_weight_only.matrices(
                piece.every_layer(), piece.light, tables=packing.tables
            )
            if not layers:
                raise NothingChanged(
                    "no matrix product of this graph has a constant float matrix, so there are no "
                    "weights to store smaller"
                )
            packing = dataclasses.replace(packing, spared=_spared(piece, layers, settings))
            packed = onnx_weight_only.pack(piece.graph, packing, {layer.node for layer in layers})
            weights = weight_count(piece.light, layers, packing.spared)
        saved = bench.save(packed, "onnx_file", model)
        counts = onnx_weight_only.count_packed(read_light(saved.artifact.path))
        if not counts:
            raise NothingChanged(
                f"none of {len(layers)} operators is stored in fewer bits; {len(packing.spared)} "
                "were excluded"
            )
        there = Counter("MatMul" if c.operator == "Gemm" else c.operator for c in layers)
        change = Change(
            f"{onnx_quantize.describe_counts(counts, there)} in {packing.bits} bits, "
            f"{packing.told()}; {model.artifact.size_bytes:,} to "
            f"{saved.artifact.size_bytes:,} bytes",
            operators=sum(counts.values()),
            weights=weights,
        )
        return Applied(saved.with_traits(add=self.adds, remove=self.removes), (change,))


def _spared(piece: Workpiece, layers: tuple[Layer, ...], settings: Settings) -> tuple[str, ...]:
    """Operators that stay in float: those that the user names, and those that lose most."""
    from jettison.graphs.onnx_layers import sparable
    from jettison.graphs.onnx_named_layers import named_layers
    from jettison.graphs.onnx_workpiece import PER_CHANNEL
    from jettison.numerics.sensitivity import spared_layers

    patterns = str(settings.get("keep_float", ""))
    named = named_layers(patterns, layers, Path(piece.model.artifact.path))
    worst = spared_layers(
        int(settings.get("exclude_layers", 0)),
        {layer.node for layer in sparable(piece.light, layers)} - {*named},
        [layer.node for layer in piece.every_layer()],
        piece.memory("sensitivity", PER_CHANNEL),
        lambda: piece.trials(per_channel=PER_CHANNEL),
    )
    return (*named, *worst)


def _packing(settings: Settings) -> Packing:
    """Reads the settings.

    Raises:
        CandidateFailed: for a value that the operator doesn't have.
    """
    chosen: dict[str, Scalar] = {}
    for name, allowed in ALLOWED.items():
        chosen[name] = settings.get(name, allowed[0])
        if chosen[name] not in allowed:
            raise CandidateFailed(
                f"`{name}` of `matmul_nbits` must be one of {', '.join(map(str, sorted(allowed)))}; "
                f"got {chosen[name]!r}"
            )
    return Packing(
        bits=int(chosen["bits"]),
        block=int(chosen["block_size"]),
        symmetric=bool(settings.get("symmetric", True)),
        accuracy_level=int(chosen["accuracy_level"]),
        tables=bool(settings.get("tables", False)),
    )
