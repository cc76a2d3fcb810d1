"""ONNX Runtime on the CPU: sessions are opened from the file, never from memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Workbench
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, LayerLosses, Profile
from jettison.domain.rates import Rate
from jettison.domain.recipe import Ranges
from jettison.domain.record import Settings
from jettison.domain.rows import Array, Batch
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_kernels import Kernel, layer_costs
from jettison.numerics.fixed_batches import fixed_batch, pieces

PROVIDER = "CPUExecutionProvider"
CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
PROFILED_CALLS = 5
LOG_ERRORS_ONLY = 3

Event = Mapping[str, Any]


class OnnxRuntime:
    """Runs ONNX files with onnxruntime, on `CPUExecutionProvider` and on nothing else."""

    name: ClassVar[str] = "onnx_runtime"
    requires: ClassVar[frozenset[str]] = frozenset({"onnx"})
    home: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def search_space(self, model: Model, profile: Profile) -> Ranges:
        """Nothing to choose: threads belong to the serving profile, and all graph rewrites are on."""
        return {}

    def prepare(
        self, model: Model, native: Any, settings: Settings, serving: ServingProfile
    ) -> OnnxRunner:
        """Opens a session on the file that `native` (a `Path`) points at.

        Raises:
            CandidateFailed: if onnxruntime can't load the file; quotes its reason.
        """
        if settings:
            raise CandidateFailed(
                f"`onnx_runtime` has no settings; got {sorted(settings)} (threads and spinning "
                "belong to `serving`)"
            )
        return OnnxRunner(model, Path(native), serving)

    def sensitivity(self, model: Model, fitting: FittingData, bench: Workbench) -> LayerLosses:
        """How far the answers move when one layer alone is computed in 8 bits."""
        from jettison.graphs.onnx_workpiece import layer_distances

        return layer_distances(model, fitting, bench)

    def product_rates(self, serving: ServingProfile) -> Mapping[str, Rate]:
        """How fast large products of each kind of number are on this machine."""
        from jettison.graphs.onnx_rates import product_rates

        return product_rates(lambda: session_options(serving))


class OnnxRunner:
    """One session. Inputs and outputs are named arrays whose first dimension is the row."""

    def __init__(self, model: Model, path: Path, serving: ServingProfile) -> None:
        self._path = path
        self._serving = serving
        self._fixed = fixed_batch(model)
        self._session = open_session(path, session_options(serving))
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        self._ran: dict[str, Array] = {}

    def run(self, batch: Batch) -> dict[str, Array]:
        """Answers a batch; a graph with a fixed batch size is run as often as it takes.

        Raises:
            CandidateFailed: if onnxruntime fails on this batch; quotes its reason.
        """
        if not self._fixed:
            return self._call(self._session, batch)
        parts = [self._call(self._session, piece) for piece in pieces(batch, self._fixed)]
        rows = len(next(iter(batch.values())))
        return {name: np.concatenate([p[name] for p in parts])[:rows] for name in self._outputs}

    def providers(self) -> Mapping[str, int]:
        """Counts the nodes that ran on each provider when the first call was made again, profiled.

        Empty where nothing ran yet: a made-up row may have a size that the graph refuses.
        """
        if not self._ran:
            return {}
        seen: dict[tuple[str, str], str] = {}
        for event in self._profiled(self._ran, calls=1):
            key = (event["name"], str(event["args"].get("node_index")))
            seen[key] = str(event["args"].get("provider", ""))
        counts: dict[str, int] = {}
        for provider in seen.values():
            counts[provider] = counts.get(provider, 0) + 1
        return counts

    def layer_costs(self, batch: Batch) -> tuple[LayerCost, ...]:
        """Gives each operator's share of the time, with what the saved graph stores in it.

        A control-flow node (`If`) carries no time of its own: the nodes inside it are listed.
        """
        piece = next(pieces(batch, self._fixed)) if self._fixed else batch
        spent: dict[tuple[str, str], float] = {}
        for event in self._profiled(piece, calls=PROFILED_CALLS):
            operator = str(event["args"].get("op_name", ""))
            if operator not in CONTROL_FLOW:
                name = str(event["name"]).removesuffix("_kernel_time")
                spent[name, operator] = spent.get((name, operator), 0.0) + float(event["dur"])
        kernels = [Kernel(name, operator, took) for (name, operator), took in spent.items()]
        shapes = {name: (1, *array.shape[1:]) for name, array in piece.items()}
        return layer_costs(self._path, kernels, shapes)

    def _call(self, session: Any, batch: Batch) -> dict[str, Array]:
        try:
            answers = session.run(self._outputs, {name: batch[name] for name in self._inputs})
        except failures() as error:
            raise CandidateFailed(f"onnxruntime could not run {self._path}: {error}") from error
        if not self._ran:
            self._ran = {name: np.array(batch[name]) for name in self._inputs}
        return {name: np.asarray(answer) for name, answer in zip(self._outputs, answers)}

    def _profiled(self, batch: Batch, calls: int) -> list[Event]:
        """Runs a second session with profiling on; its first call is a warm-up and left out."""
        with tempfile.TemporaryDirectory(prefix="jettison-profile-") as folder:
            options = session_options(self._serving)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = open_session(self._path, options)
            for _ in range(calls + 1):
                self._call(session, batch)
            events = json.loads(Path(session.end_profiling()).read_bytes())
        kernels = [
            event
            for event in events
            if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time")
        ]
        starts = [e["ts"] for e in events if e.get("name") == "model_run"]
        second = sorted(starts)[1] if len(starts) > 1 else 0
        return [event for event in kernels if event["ts"] >= second]


def session_options(serving: ServingProfile) -> Any:
    """Gives the options of every session: sequential, all graph rewrites, errors only."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = LOG_ERRORS_ONLY
    options.intra_op_num_threads = serving.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    spin = "1" if serving.spinning else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    options.add_session_config_entry("session.inter_op.allow_spinning", spin)
    return options


def open_session(path: Path, options: Any) -> Any:
    """Opens a session from the path.

    Raises:
        CandidateFailed: if onnxruntime refuses the file; quotes its reason.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    except failures() as error:
        raise CandidateFailed(f"onnxruntime could not load {path}: {error}") from error


def failures() -> tuple[type[Exception], ...]:
    """Gives what onnxruntime raises: its own classes have no common root but `Exception`."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    own = [
        value
        for value in vars(native).values()
        if isinstance(value, type) and issubclass(value, Exception)
    ]
    return (*own, RuntimeError, ValueError)
