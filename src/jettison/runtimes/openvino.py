"""The runtime `openvino`: OpenVINO on the CPU, with the threads of the serving profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, Profile
from jettison.domain.recipe import Choices, IntegerRange, Range, Ranges
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed
from jettison.graphs.openvino_ir import FAILURES, import_openvino, reason_of
from jettison.graphs.openvino_layers import Kernel, layer_costs
from jettison.numerics.fixed_batches import fixed_batch, pieces

DEVICE = "CPU"
PROFILED_CALLS = 5
PRECISIONS = ("f32", "bf16")
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
SPARSE_KERNELS = "amx_int8"
"""Only kernels for AMX read weights whose zeros were left out."""

GROUPS = (0, 32, 128)
"""Channels of an activation that are rounded together; 0 leaves all in float. Kernels for it need
8-bit dot products."""

DENSE = 1.0
"""A share of zeros that no weights reach: all are stored and computed with."""

SETTINGS = ("activation_group", "precision", "sparse_rate", "streams")
NO_KERNEL = frozenset({"Const", "Input", "Output", "Parameter", "Result"})


class Openvino:
    """Runs OpenVINO IR on the CPU.

    Settings: `streams` (requests that share the threads; a batch is divided over them),
    `precision` (of floating-point arithmetic), `activation_group` (channels that are rounded to
    8 bits together before products with compressed weights; 0 leaves them in float), and
    `sparse_rate` (share of zeros from which weights are stored without them).
    """

    name: ClassVar[str] = "openvino"
    requires: ClassVar[frozenset[str]] = frozenset({"openvino"})
    home: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Only what can make a difference on this CPU, with these threads.

        Pruned and compressed weights come later than this is asked, so the model doesn't tell.
        """
        space: dict[str, Range] = {}
        if profile.serving.threads > 1 and max(profile.serving.batch_sizes) > 1:
            space["streams"] = IntegerRange(1, profile.serving.threads, 1)
        if BFLOAT16 & set(profile.device.features):
            space["precision"] = Choices(PRECISIONS, PRECISIONS[0])
        if profile.device.has_int8_dot_products and "matmul" in model.traits:
            space["activation_group"] = Choices(GROUPS, GROUPS[0])
        if SPARSE_KERNELS in profile.device.features and "matmul" in model.traits:
            space["sparse_rate"] = Choices((DENSE, 0.5), DENSE)
        return space

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> OpenvinoRunner:
        """Compiles the graph that `native` (a `Path`) points at.

        Raises:
            CandidateFailed: for unknown settings, or if OpenVINO can't compile the graph.
        """
        unknown = sorted(set(settings) - set(SETTINGS))
        if unknown:
            raise CandidateFailed(
                f"`openvino` has no setting {', '.join(f'`{name}`' for name in unknown)} (its "
                f"settings are {', '.join(SETTINGS)}; threads belong to `serving`)"
            )
        return OpenvinoRunner(model, Path(native), properties(settings, serving))


class OpenvinoRunner:
    """One compiled graph. Inputs and outputs are named arrays whose first dimension is the row."""

    def __init__(self, model: Model, path: Path, wanted: Mapping[str, Any]) -> None:
        self._path = path
        self._wanted = wanted
        self._fixed = fixed_batch(model)
        self._compiled = compiled(path, wanted)
        self._inputs = [spec.name for spec in model.inputs]
        self._outputs = [spec.name for spec in model.outputs]
        count = int(wanted["NUM_STREAMS"])
        self._requests = [self._compiled.create_infer_request() for _ in range(count)]

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers a batch; with more than one stream, each stream answers a part of the rows.

        Raises:
            CandidateFailed: if OpenVINO fails on this batch; quotes its reason.
        """
        rows = len(next(iter(batch.values())))
        if self._fixed:
            parts = [self._part(piece) for piece in pieces(batch, self._fixed)]
            return _joined(parts, rows)
        if len(self._requests) == 1 or rows == 1:
            return self._part(batch)
        return self._divided(batch, rows)

    def providers(self) -> Mapping[str, int]:
        """Counts the kernels of each precision: `openvino-cpu i8` are those that run in 8 bits."""
        counts: dict[str, int] = {}
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            if _told(node, "layerType") not in NO_KERNEL:
                key = f"openvino-cpu {_told(node, 'runtimePrecision')}"
                counts[key] = counts.get(key, 0) + 1
        return counts

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Gives each operator's share of the time, with what the saved graph stores in it."""
        piece = next(pieces(batch, self._fixed)) if self._fixed else batch
        watched = compiled(self._path, {**self._wanted, "PERF_COUNT": True})
        request = watched.create_infer_request()
        self._infer(request, piece)
        spent: dict[tuple[str, str], float] = {}
        for _ in range(PROFILED_CALLS):
            self._infer(request, piece)
            for event in request.get_profiling_info():
                key = (event.node_name, event.node_type)
                took = event.real_time.total_seconds() * 1e6
                if took > 0.0:
                    spent[key] = spent.get(key, 0.0) + took
        kernels = [Kernel(name, kind, took) for (name, kind), took in spent.items()]
        rows = self._fixed or 1
        shapes = {name: (rows, *piece[name].shape[1:]) for name in self._inputs}
        return layer_costs(self._path, kernels, shapes)

    def _part(self, batch: Batch) -> dict[str, Array]:
        self._infer(self._requests[0], batch)
        return self._answers(self._requests[0])

    def _divided(self, batch: Batch, rows: int) -> dict[str, Array]:
        shares = [s for s in np.array_split(np.arange(rows), len(self._requests)) if len(s)]
        failure: Exception | None = None
        for request, share in zip(self._requests, shares):
            part = slice(int(share[0]), int(share[-1]) + 1)
            try:
                request.start_async({n: batch[n][part] for n in self._inputs}, share_inputs=True)
            except FAILURES as error:
                failure = failure or error
        # All are waited for, so that none is busy when the next batch comes.
        for request in self._requests[: len(shares)]:
            try:
                request.wait()
            except FAILURES as error:
                failure = failure or error
        if failure is not None:
            raise self._failed(failure) from failure
        return _joined([self._answers(r) for r in self._requests[: len(shares)]], rows)

    def _infer(self, request: Any, batch: Batch) -> None:
        try:
            request.infer({name: batch[name] for name in self._inputs}, share_inputs=True)
        except FAILURES as error:
            raise self._failed(error) from error

    def _answers(self, request: Any) -> dict[str, Array]:
        # The next call writes over the request's own arrays.
        return {name: request.get_tensor(name).data.copy() for name in self._outputs}

    def _failed(self, error: Exception) -> CandidateFailed:
        return CandidateFailed(f"OpenVINO could not run {self._path}: {reason_of(error)}")


def properties(settings: Settings, serving: ServingProfile) -> dict[str, Any]:
    """Gives every property that a number depends on, so that none is left to a default.

    Raises:
        CandidateFailed: for a setting outside of what it may be here.
    """
    streams = int(settings.get("streams", 1))
    if not 1 <= streams <= serving.threads:
        raise CandidateFailed(
            f"`streams` of `openvino` must be from 1 to the {serving.threads} threads of "
            f"`serving`; got {streams}"
        )
    precision = str(settings.get("precision", PRECISIONS[0]))
    if precision not in PRECISIONS:
        raise CandidateFailed(
            f"`precision` of `openvino` must be one of {', '.join(PRECISIONS)}; got {precision!r}"
        )
    return {
        "INFERENCE_NUM_THREADS": serving.threads,
        "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        # On a CPU with bfloat16 its default is that, for models that were saved as float32.
        "INFERENCE_PRECISION_HINT": precision,
        # Its default rounds activations before products with compressed weights.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": int(settings.get("activation_group", 0)),
        "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": float(settings.get("sparse_rate", DENSE)),
        # A thread that may not leave its core waits for whatever else runs there.
        "ENABLE_CPU_PINNING": False,
    }


def compiled(path: Path, wanted: Mapping[str, Any]) -> Any:
    """Compiles a saved graph.

    Raises:
        CandidateFailed: if OpenVINO refuses it, or this CPU lacks the precision.
    """
    try:
        core = import_openvino().Core()
        able = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        if wanted["INFERENCE_PRECISION_HINT"] == "bf16" and "BF16" not in able:
            raise CandidateFailed(
                f"this CPU has no bfloat16 arithmetic (OpenVINO finds {', '.join(able)}); set "
                "`precision` of `openvino` to f32"
            )
        return core.compile_model(path, DEVICE, dict(wanted))
    except FAILURES as error:
        raise CandidateFailed(f"OpenVINO could not load {path}: {reason_of(error)}") from error


def _told(node: Any, fact: str) -> str:
    """What the compiled graph tells of a node, such as its precision."""
    return str(node.get_rt_info()[fact].value)


def _joined(parts: list[dict[str, Array]], rows: int) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts])[:rows] for name in parts[0]}
