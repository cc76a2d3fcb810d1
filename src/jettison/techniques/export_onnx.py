"""The conversion `export_onnx`: a PyTorch text model becomes an ONNX graph, proved by running."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jettison.domain.extension_points import Applied, Runner, Workbench
from jettison.domain.model import Artifact, Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Change, Potential, Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed

if TYPE_CHECKING:
    from jettison.graphs.torch_text import TextModel

OPSET = 17
"""The first with LayerNormalization; every runtime of the last years reads it."""

TRACED = 8
"""Tokens of the example that is traced; any other number of tokens is proved by running."""

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest answer of the original (at least 1)."""

FOUND = frozenset({"float32", "float16", "matmul", "convolution", "attention"})
"""Traits that are read from the graph that was written."""


class ExportOnnx:
    """Traces the module with plain attention and free batch and sequence dimensions.

    Setting: `opset` (17).
    """

    name: ClassVar[str] = "export_onnx"
    requires: ClassVar[frozenset[str]] = frozenset({"torch"})
    adds: ClassVar[frozenset[str]] = frozenset({"onnx", "standard-operators"})
    removes: ClassVar[frozenset[str]] = frozenset({"torch"})
    conversion: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx")

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: the answers and the time don't depend on the opset."""
        return {}

    def potential(self, model: Model, profile: Profile) -> Potential | Refusal:
        """All but the matrix products may vanish; these stay what they are."""
        products = profile.time_share_of("Linear", "NonDynamicallyQuantizableLinear", "Conv1D")
        if not products:
            return Potential(profile.bound, 1.0, "the share of matrix products is not known here")
        return Potential(
            speedup=1.0 / products,
            size_ratio=1.0,
            reason=f"{products:.0%} of the model's time are matrix products, which stay; the rest "
            "(Python, small operators) may shrink in a graph that is planned as a whole",
        )

    def apply(
        self, model: Model, settings: Settings, fitting: FittingData, bench: Workbench
    ) -> Applied:
        """Exports, then runs the graph at batch 1, 2 and the largest, at two lengths.

        Raises:
            CandidateFailed: if it can't be exported, or answers differently.
        """
        probes = list(_probes(model, fitting, max(bench.serving.batch_sizes)))
        opset = int(settings.get("opset", OPSET))
        graph, expected, kind = _trace(bench.open(model), probes, model, opset)
        files, operators, weights = _write(graph, bench.open(model), bench.folder)
        exported = _describe(model, Artifact.of("onnx_file", bench.folder, files))
        largest = _largest_difference(bench.runner(exported), probes, expected, model)
        sizes = ", ".join(sorted({str(len(p["input_ids"])) for p in probes}, key=int))
        change = Change(
            f"{kind} to an ONNX graph of {operators} operators (opset {opset}); at batch {sizes} "
            f"and two lengths its answers differ from PyTorch's by at most {largest:.1e}",
            operators=operators,
            weights=weights,
        )
        return Applied(exported, (change,))


def _trace(
    module: TextModel, probes: list[dict[str, Array]], model: Model, opset: int
) -> tuple[Any, list[Array], str]:
    """Answers the probes, then gives up the weights and traces the module without them.

    Tracing copies the weights for its shape inference; without them, one copy is all there is.
    """
    from jettison.graphs.torch_export import ROWS, drop_weights, export_graph

    expected = [_answer(module, probe) for probe in probes]
    # Fused kernels such as scaled_dot_product_attention leave a pattern that ONNX Runtime's
    # fusion does not recognise.
    module.backbone.set_attn_implementation("eager")
    drop_weights(module)
    # Tracing keeps every intermediate result of its example, so the example is small.
    example = {n: np.minimum(a[:2, :TRACED], ROWS - 1) for n, a in probes[-1].items()}
    graph = export_graph(module, example, [spec.name for spec in model.outputs], opset)
    return graph, expected, type(module.backbone).__name__


def _write(graph: Any, module: TextModel, folder: Path) -> tuple[tuple[str, ...], int, int]:
    from jettison.graphs.torch_export import write_graph

    files = write_graph(graph, module, folder)
    weights = sum(int(np.prod(tensor.dims)) for tensor in graph.graph.initializer)
    return files, len(graph.graph.node), weights


def _describe(model: Model, artifact: Artifact) -> Model:
    from jettison.graphs.onnx_graph import traits_of

    found = traits_of(artifact.path)
    changed = model.with_traits(
        add=ExportOnnx.adds | found, remove=ExportOnnx.removes | (FOUND - found)
    )
    return dataclasses.replace(changed, artifact=artifact)


def _probes(model: Model, fitting: FittingData, largest: int) -> Iterator[dict[str, Array]]:
    """Batches of 1, 2 and the largest size, whole and cut to half; the last row is padded."""
    for size in sorted({1, 2, largest}):
        batch = fitting.rows.batch(np.resize(np.arange(fitting.rows.n), size))
        whole = max(2, batch["input_ids"].shape[1])
        for length in sorted({max(2, whole // 2), whole}):
            cut = {
                spec.name: np.ascontiguousarray(batch[spec.name][:, :length])
                for spec in model.inputs
            }
            if size > 1:
                cut["attention_mask"][-1, max(1, length // 2) :] = 0
            yield cut


def _answer(module: Any, batch: dict[str, Array]) -> Array:
    import torch

    with torch.inference_mode():
        answer = module(**{name: torch.from_numpy(array) for name, array in batch.items()})
    return np.asarray(answer.numpy())


def _largest_difference(
    runner: Runner, probes: list[dict[str, Array]], expected: list[Array], model: Model
) -> float:
    largest = 0.0
    for probe, answer in zip(probes, expected, strict=True):
        found = runner.run(probe)[model.prediction]
        rows, length = probe["input_ids"].shape
        if found.shape != answer.shape:
            raise CandidateFailed(
                f"at {rows} rows of {length} tokens the exported graph answers with shape "
                f"{found.shape}, PyTorch with {answer.shape}"
            )
        difference = float(np.max(np.abs(found - answer)))
        allowed = TOLERANCE * max(1.0, float(np.max(np.abs(answer))))
        if not difference <= allowed:
            raise CandidateFailed(
                f"at {rows} rows of {length} tokens the exported graph differs from PyTorch by "
                f"{difference:.2e} (allowed: {allowed:.0e}); the tracing exporter can't express "
                "this model"
            )
        largest = max(largest, difference)
    return largest
