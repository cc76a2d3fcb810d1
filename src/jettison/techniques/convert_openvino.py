"""The conversion `convert_openvino`: an ONNX graph becomes OpenVINO IR, proved by running both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Runner, Workbench
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

TOLERANCE = 1e-3
"""Largest difference allowed, relative to the largest answer of the original (at least 1)."""

ROUNDED_TOLERANCE = 0.1
"""The same for models with 8-bit or 16-bit numbers in them: a sum that lies between two steps is
rounded up by one runtime and down by the other. What that costs is measured with the candidate."""

ROUNDED = frozenset({"int8", "float16"})


class ConvertOpenvino:
    """Reads the graph with OpenVINO's own ONNX reader; weights keep their precision."""

    name: ClassVar[str] = "convert_openvino"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx", "standard-operators"})
    adds: ClassVar[frozenset[str]] = frozenset({"openvino"})
    removes: ClassVar[frozenset[str]] = frozenset({"onnx"})
    conversion: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("openvino", "onnxruntime")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: the answers must stay what they are."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """Another runtime has other kernels: how much faster they are is only found by running."""
        return Potential(
            speedup=profile.bound,
            size_ratio=1.0,
            reason="OpenVINO has kernels of its own; which runtime is faster changes from model "
            "to model and from CPU to CPU, so it is measured",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Converts, then compares all answers at batch 1, 2 and the largest.

        Raises:
            CandidateFailed: if OpenVINO can't read the graph, or answers differently.
        """
        from jettison.graphs.openvino_ir import read_onnx

        graph = read_onnx(Path(bench.open(model)))
        saved = bench.save(graph, "openvino_ir", model)
        converted = saved.with_traits(add=self.adds, remove=self.removes)
        probes = tuple(_probes(fitting.rows, max(bench.serving.batch_sizes)))
        difference = _largest_difference(
            bench.runner(model), bench.runner(converted), probes, model
        )
        operators = len(graph.get_ordered_ops())
        change = Change(
            f"ONNX graph to OpenVINO IR of {operators} operators; on {len(probes)} batches of "
            f"fitting rows the answers differ by at most {difference:.1e}",
            operators=operators,
        )
        return Applied(converted, (change,))


def _probes(rows: Rows, largest: int) -> Iterator[dict[str, Array]]:
    """Batches of 1, 2 and the largest size; where rows are ragged, cut to half as well."""
    for size in sorted({1, 2, largest}):
        whole = rows.batch(np.arange(size) % rows.n)
        yield whole
        if rows.pad:
            half = max(1, min(whole[name].shape[1] for name in rows.pad) // 2)
            yield {n: a[:, :half] if n in rows.pad else a for n, a in whole.items()}


def _largest_difference(
    original: Runner, converted: Runner, probes: tuple[dict[str, Array], ...], model: Model
) -> float:
    """The largest difference of any output, relative to the largest answer (at least 1)."""
    allowed = ROUNDED_TOLERANCE if model.traits & ROUNDED else TOLERANCE
    largest = 0.0
    for probe in probes:
        before, after = original.run(probe), converted.run(probe)
        shapes = {name: array.shape for name, array in probe.items()}
        for spec in model.outputs:
            name = spec.name
            if before[name].shape != after[name].shape:
                raise CandidateFailed(
                    f"for inputs of shapes {shapes} OpenVINO answers `{name}` with shape "
                    f"{after[name].shape}, the original with {before[name].shape}"
                )
            difference = _difference(before[name], after[name])
            if not difference <= allowed:
                raise CandidateFailed(
                    f"for inputs of shapes {shapes} the answers `{name}` of OpenVINO differ by "
                    f"{difference:.1e} of the largest (allowed: {allowed:g}); this graph computes "
                    "something else there"
                )
            largest = max(largest, difference)
    return largest


def _difference(before: Array, after: Array) -> float:
    first, second = before.astype(np.float64), after.astype(np.float64)
    known = np.isfinite(first)
    if not np.array_equal(known, np.isfinite(second)):
        return float("inf")
    size = max(1.0, float(np.abs(first[known]).max(initial=0.0)))
    return float(np.abs(first[known] - second[known]).max(initial=0.0)) / size
