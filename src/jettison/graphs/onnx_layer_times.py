"""How long each layer of a graph takes, as ONNX Runtime's own profiler tells, and whole graphs."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from jettison.domain.rows import Batch
from jettison.graphs.onnx_kernels import Kernel, SavedGraph
from jettison.graphs.onnx_prepare import open_session, run_session, serving_options

CALLS = 12
ROUNDS = 4
"""Turns that each of several graphs takes, so that a slow moment does not meet one of them alone."""

TURN_SECONDS = 0.05


def layer_times(graph: Path, batch: Batch, threads: int) -> Mapping[str, float]:
    """Microseconds of each saved operator: the quickest of some calls, after one to warm up.

    What the runtime added or merged counts for the operator that its kernel is named after.

    Args:
        graph: of an .onnx file.
        batch: one call's rows.
        threads: of the session.
    """
    with tempfile.TemporaryDirectory(prefix="jettison-times-") as folder:
        options = serving_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(graph, options)
        outputs = [entry.name for entry in session.get_outputs()]
        feed = {entry.name: batch[entry.name] for entry in session.get_inputs()}
        for _ in range(CALLS + 1):
            run_session(session, outputs, feed)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    spent: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time"):
            name = str(event["name"]).removesuffix("_kernel_time")
            key = (name, str(event["args"].get("op_name", "")))
            spent.setdefault(key, []).append(float(event["dur"]))
    saved = SavedGraph(graph)
    times: dict[str, float] = {}
    for (name, operator), took in spent.items():
        layer = saved.find(Kernel(name, _written(operator), 0.0))
        if layer is not None:
            times[layer] = times.get(layer, 0.0) + min(took[1:] or took)
    return times


def call_times(graphs: Sequence[Path], batch: Batch, threads: int) -> tuple[float, ...]:
    """Microseconds of the quickest call of each graph; they take turns.

    Args:
        graphs: of .onnx files, with the same inputs; all are open at once.
        batch: one call's rows.
        threads: of the sessions.
    """
    sessions = [open_session(path, serving_options(threads)) for path in graphs]
    outputs = [[entry.name for entry in session.get_outputs()] for session in sessions]
    feeds = [{e.name: batch[e.name] for e in session.get_inputs()} for session in sessions]
    quickest = [float("inf")] * len(sessions)
    for _ in range(ROUNDS):
        for place, session in enumerate(sessions):
            run_session(session, outputs[place], feeds[place])
            spent = 0.0
            while spent < TURN_SECONDS:
                begun = time.perf_counter()
                run_session(session, outputs[place], feeds[place])
                took = time.perf_counter() - begun
                spent += took
                quickest[place] = min(quickest[place], 1e6 * took)
    return tuple(quickest)


def _written(operator: str) -> str:
    """The operator type that a fused kernel stands for in the saved graph."""
    return operator.removeprefix("Fused")
