"""The conversion `export_onnx`: a PyTorch model becomes an ONNX graph, proved by running."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Runner, Workbench
from jettison.domain.model import Artifact, Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, ModelError

OPSET = 17
"""The first with LayerNormalization; every runtime of the last years reads it."""

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest answer of the original (at least 1)."""

FOUND = frozenset({"float32", "float16", "matmul", "convolution", "attention"})
"""Traits that are read from the graph that was written."""

STAYING = (
    *("Linear", "NonDynamicallyQuantizableLinear", "Conv1D", "Conv1d", "Conv2d", "Conv3d"),
    *("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
)
"""Layers whose products have to be computed in any form of the model."""

Answers = dict[str, Array]


class ExportOnnx:
    """Traces the module with plain attention; what is free in the model is free in the graph.

    Setting: `opset` (17).
    """

    name: ClassVar[str] = "export_onnx"
    requires: ClassVar[frozenset[str]] = frozenset({"torch"})
    excludes: ClassVar[frozenset[str]] = frozenset({"packed"})
    adds: ClassVar[frozenset[str]] = frozenset({"onnx", "standard-operators"})
    removes: ClassVar[frozenset[str]] = frozenset({"torch", "dense"})
    conversion: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch", "onnx")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: the answers and the time don't depend on the opset."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """All but matrix products and convolutions may vanish; these stay what they are."""
        products = profile.time_share_of(*STAYING)
        if not products:
            return Potential(profile.bound, 1.0, "the share of matrix products is not known here")
        return Potential(
            speedup=1.0 / products,
            size_ratio=1.0,
            reason=f"{products:.0%} of the model's time are matrix products and convolutions, which "
            "stay; the rest (Python, small operators) may shrink in a graph that is planned as a "
            "whole",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Exports, then runs the graph at batch 1, 2 and the largest, at two lengths if free.

        Raises:
            CandidateFailed: if it can't be exported, or answers differently.
        """
        from jettison.graphs.torch_export import trace, write_graph

        probes = list(_probes(model, fitting, max(bench.serving.batch_sizes)))
        opset = int(settings.get("opset", OPSET))
        module = bench.open(model)
        expected = [_answer(module, probe, model) for probe in probes]
        graph, kind = trace(module, probes[-1], model.inputs, model.outputs, opset), _kind(module)
        # The traced module gave up its weights; they are written from a fresh one.
        files = write_graph(graph, bench.open(model), bench.folder)
        weights = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
        exported = _describe(model, Artifact.of("onnx_file", bench.folder, files))
        largest = _largest_difference(bench.runner(exported), probes, expected)
        sizes = ", ".join(sorted({str(_rows(probe)) for probe in probes}, key=int))
        lengths = " and two lengths" if _ragged(model) else ""
        change = Change(
            f"{kind} to an ONNX graph of {len(graph.graph.node)} operators (opset {opset}); at "
            f"batch {sizes}{lengths} its answers differ from PyTorch's by at most {largest:.1e}",
            operators=len(graph.graph.node),
            weights=weights,
        )
        return Applied(exported, (change,))


def _kind(module: Any) -> str:
    return type(getattr(module, "backbone", module)).__name__


def _describe(model: Model, artifact: Artifact) -> Model:
    from jettison.graphs.onnx_graph import traits_of

    found = traits_of(artifact.path)
    changed = model.with_traits(
        add=ExportOnnx.adds | found, remove=ExportOnnx.removes | (FOUND - found)
    )
    return dataclasses.replace(changed, artifact=artifact)


def _rows(probe: Answers) -> int:
    return len(next(iter(probe.values())))


def _ragged(model: Model) -> list[str]:
    """Inputs whose second dimension is free."""
    return [s.name for s in model.inputs if len(s.shape) > 1 and isinstance(s.shape[1], str)]


def _probes(model: Model, fitting: FittingData, largest: int) -> Iterator[Answers]:
    """Batches of 1, 2 and the largest size, whole and shortened; the last row is padded."""
    ragged = _ragged(model)
    for size in sorted({1} if "fixed-batch" in model.traits else {1, 2, largest}):
        batch = fitting.rows.batch(np.resize(np.arange(fitting.rows.n), size))
        whole = max((batch[name].shape[1] for name in ragged), default=0)
        for length in sorted({max(2, whole // 2), max(2, whole)}) if ragged else (0,):
            cut = {
                spec.name: np.ascontiguousarray(
                    batch[spec.name][:, :length] if spec.name in ragged else batch[spec.name]
                )
                for spec in model.inputs
            }
            if size > 1 and "attention_mask" in ragged:
                cut["attention_mask"][-1, max(1, length // 2) :] = 0
            yield cut


def _answer(module: Any, probe: Answers, model: Model) -> Answers:
    import torch

    from jettison.graphs.torch_capture import answers

    named = {name: torch.from_numpy(array) for name, array in probe.items()}
    try:
        tensors = answers(module, named, "the model")
    except ModelError as error:
        raise CandidateFailed(str(error)) from error
    return {s.name: np.asarray(t.numpy()) for s, t in zip(model.outputs, tensors, strict=True)}


def _largest_difference(
    runner: Runner, probes: Sequence[Answers], expected: Sequence[Answers]
) -> float:
    largest = 0.0
    for probe, answer in zip(probes, expected, strict=True):
        found = runner.run(probe)
        shapes = ", ".join(f"`{name}` {array.shape}" for name, array in probe.items())
        for name, wanted in answer.items():
            if found[name].shape != wanted.shape:
                raise CandidateFailed(
                    f"for {shapes} the exported graph answers `{name}` with shape "
                    f"{found[name].shape}, PyTorch with {wanted.shape}"
                )
            if not wanted.size:
                continue
            before, after = wanted.astype(np.float64), found[name].astype(np.float64)
            difference = float(np.max(np.abs(after - before)))
            allowed = TOLERANCE * max(1.0, float(np.max(np.abs(before))))
            if not difference <= allowed:
                raise CandidateFailed(
                    f"for {shapes} the exported graph's `{name}` differs from PyTorch's by "
                    f"{difference:.2e} (allowed: {allowed:.0e}); the tracing exporter can't "
                    "express this model"
                )
            largest = max(largest, difference)
    return largest
