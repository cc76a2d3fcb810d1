"""Half precision: weights stored as 16-bit floats; inputs and outputs stay 32-bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.rates import HALF
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.running_time import running
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged

if TYPE_CHECKING:
    from jettison.graphs.onnx_workpiece import Workpiece

LARGEST = 65504.0
"""The largest 16-bit float."""

WATCHED_ROWS = 16

FASTER = 1.3
"""A smaller ratio of measured rates is no reason to promise speed."""

PRODUCTS = ("Conv", "FusedConv", "FusedMatMul", "FusedGemm", "Gemm", "MatMul")


class HalfPrecision:
    """Converts the graph to float16, except for operators whose values don't fit."""

    name: ClassVar[str] = "half_precision"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "float32"})
    adds: ClassVar[frozenset[str]] = frozenset({"float16"})
    removes: ClassVar[frozenset[str]] = frozenset({"float32"})
    conversion: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: what can't be 16-bit is found from the weights and the rows."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Half the bytes; no speed on a CPU that computes 16-bit floats no faster."""
        if model.traits & {"trees"} and not model.traits & {"matmul", "convolution"}:
            return Refusal(
                self.name, "tree ensembles keep their thresholds in attributes that must be 32-bit"
            )
        stored = "weights take 2 bytes instead of 4"
        ratio = profile.rates.ratio(HALF) if profile.rates is not None else None
        if ratio is not None and ratio > FASTER:
            share = profile.time_share_of(*PRODUCTS) if profile.layers else 1.0
            return Potential(
                1.0 / (1.0 - share + share / ratio),
                0.5,
                f"{stored}, and this CPU multiplies 16-bit floats {ratio:.1f}x as fast (measured)",
            )
        told = "MiniLM ran at 1.0x the speed" if ratio is None else f"{ratio:.1f}x, measured here"
        return Potential(
            1.0,
            0.5,
            f"{stored}; products of 16-bit floats are no faster on this CPU ({told})",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Watches activations, converts what fits, checks the answers, saves.

        Raises:
            NothingChanged: if no weight became 16-bit.
            CandidateFailed: if the graph can't be converted, or answers NaN afterwards.
        """
        from jettison.graphs.onnx_half import convert_to_half, half_values
        from jettison.graphs.onnx_storage import GRAPH_FILE, read_light
        from jettison.graphs.onnx_workpiece import on_the_bench

        with on_the_bench(model, fitting, bench) as piece:
            with running():
                largest = _largest(piece)
            made = piece.graph.parent / "half"
            kept = convert_to_half(piece.graph, largest, LARGEST, made)
            total = sum(1 for _ in piece.light.graph.node)
            saved = bench.save(made / GRAPH_FILE, "onnx_file", model)
        weights = half_values(read_light(saved.artifact.path))
        if not weights:
            raise NothingChanged(
                f"no weight became a 16-bit float: {len(kept)} of {total} operators hold values "
                f"beyond {LARGEST:,.0f} or have no 16-bit form"
            )
        done = saved.with_traits(add=self.adds, remove=self.removes)
        with running():
            _check_answers(done, fitting)
        apart = f"; {len(kept)} operators with values beyond {LARGEST:,.0f} stay 32-bit"
        change = Change(
            f"{weights:,} weights to float16{apart if kept else ''}; "
            f"{model.artifact.size_bytes:,} to {saved.artifact.size_bytes:,} bytes",
            operators=total - len(kept),
            weights=weights,
        )
        return Applied(done, (change,))


def _largest(piece: Workpiece) -> dict[str, float]:
    """The largest finite magnitude of every float input and every answer of an operator."""
    from jettison.graphs.onnx_taps import Taps

    names = {name for node in piece.light.graph.node for name in node.output if name}
    names |= {value.name for value in piece.light.graph.input}
    taps = Taps(piece.graph, names, threads=1)
    largest = dict.fromkeys(taps.names, 0.0)
    for batch in piece.batches(WATCHED_ROWS):
        for name, values in taps.run(batch):
            sizes = np.abs(values, where=np.isfinite(values), out=np.zeros_like(values))
            largest[name] = max(largest[name], float(sizes.max(initial=0.0)))
    return largest


def _check_answers(model: Model, fitting: FittingData) -> None:
    """Runs some rows; the outputs must be numbers."""
    from jettison.graphs.onnx_prepare import light_options, open_session, run_session
    from jettison.graphs.onnx_workpiece import pieces_of

    session = open_session(model.artifact.path, light_options())
    names = [value.name for value in session.get_outputs()]
    for batch in pieces_of(model, fitting, WATCHED_ROWS):
        feed = {value.name: batch[value.name] for value in session.get_inputs()}
        for name, values in zip(names, run_session(session, names, feed)):
            if values.dtype.kind == "f" and np.isnan(values).any():
                raise CandidateFailed(
                    f"output `{name}` is NaN for a fitting row after conversion to float16: a value "
                    f"inside the model grew beyond {LARGEST:,.0f}, or the original gives NaN too"
                )
