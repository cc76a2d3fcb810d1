"""Two ways from a PyTorch program to ONNX, and what a program costs beside its module: ResNet-20.

    python -m benchmarks.torch_exporters

The tracing exporter is the one that `export_onnx` uses; the other is built on `torch.export`. Both
graphs run in ONNX Runtime with one thread; the module and its program run in PyTorch with one.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from benchmarks.results_file import Row, write
from jettison.graphs.torch_capture import capture
from jettison.graphs.torch_export import trace, write_graph
from jettison.graphs.torch_program import open_program, save_program
from jettison.graphs.torch_signature import parse_inputs
from jettison.graphs.torch_source import call_function

EXAMPLE = Path(__file__).parents[1] / "examples" / "cifar_resnet.py"
INPUTS = parse_inputs(["image: float32[batch, 3, 32, 32]"])
ROUNDS = 40
CALLS = 10
MODEL = "ResNet-20, batch 1"


def main() -> int:
    """Measures and stores."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = call_function(str(EXAMPLE), "resnet20").eval()
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        save_program(capture(module, INPUTS), folder / "program")
        graphs, seconds = _exported(folder)
        rows = [
            Row(MODEL, name, "export time", spent, None, None, "s", 1)
            for name, spent in seconds.items()
        ]
        sessions = {}
        for name, path in graphs.items():
            sessions[name], operators = _session(path)
            kinds = ", ".join(f"{kind} {count}" for kind, count in operators.most_common())
            total = sum(operators.values())
            rows.append(
                Row(MODEL, name, "operators after ORT", total, None, None, "operators", 1, kinds)
            )
        image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
        calls = {
            name: (lambda session=session: session.run(None, {"image": image}))
            for name, session in sessions.items()
        }
        rows += _timed(calls, "tracing exporter")
        tensor, program = torch.from_numpy(image), open_program(folder / "program")
        with torch.inference_mode():
            eager = {
                "module": lambda: module(image=tensor),
                "program": lambda: program(image=tensor),
            }
            rows += _timed(eager, "module")
    write("torch_exporters", rows, [f"{ROUNDS} interleaved rounds of {CALLS} calls, one thread."])
    for row in rows:
        print(f"{row.method:18} {row.metric:24} {row.value} [{row.low}, {row.high}] {row.note}")
    return 0


def _exported(folder: Path) -> tuple[dict[str, Path], dict[str, float]]:
    image = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    from jettison.domain.model import TensorSpec

    outputs = (TensorSpec("output", "float32", ("batch", 10)),)
    seconds = {}
    begun = time.perf_counter()
    graph = trace(open_program(folder / "program"), {"image": image}, INPUTS, outputs, 17)
    write_graph(graph, open_program(folder / "program"), folder / "traced")
    seconds["tracing exporter"] = time.perf_counter() - begun
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            open_program(folder / "program"),
            (),
            kwargs={"image": torch.from_numpy(image)},
            dynamic_shapes={"image": {0: torch.export.Dim.DYNAMIC}},
            strict=False,
        )
        other = folder / "other.onnx"
        torch.onnx.export(program, (), str(other), dynamo=True, external_data=False, verbose=False)
    seconds["torch.export exporter"] = time.perf_counter() - begun
    return {
        "tracing exporter": folder / "traced" / "model.onnx",
        "torch.export exporter": other,
    }, seconds


def _session(path: Path) -> tuple[Any, Counter[str]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = level
    providers = ["CPUExecutionProvider"]
    onnxruntime.InferenceSession(str(path), options, providers=providers)
    proto = onnx.load(options.optimized_model_filepath)
    plain = onnxruntime.SessionOptions()
    plain.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), plain, providers=providers)
    return session, Counter(node.op_type for node in proto.graph.node)


def _timed(calls: Mapping[str, Callable[[], Any]], first: str) -> list[Row]:
    """Milliseconds a call, and ratios to the first by rounds; intervals by order statistics."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    random = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for name in random.permutation(list(calls)):
            calls[name]()
            begun = time.perf_counter()
            for _ in range(CALLS):
                calls[name]()
            times[name].append((time.perf_counter() - begun) / CALLS * 1e3)
    rows = []
    for name, spent in times.items():
        rows.append(Row(MODEL, name, "latency", *_median(spent), "ms", ROUNDS))
        if name != first:
            ratios = [a / b for a, b in zip(spent, times[first], strict=True)]
            rows.append(Row(MODEL, name, f"time / {first}", *_median(ratios), "ratio", ROUNDS))
    return rows


def _median(values: list[float]) -> tuple[float, float, float]:
    """The median with a 95 % interval: binomial, normal approximation."""
    ordered = sorted(values)
    half = 0.98 * len(ordered) ** 0.5
    low = ordered[max(0, int(len(ordered) / 2 - half))]
    high = ordered[min(len(ordered) - 1, int(len(ordered) / 2 + half))]
    return statistics.median(ordered), low, high


if __name__ == "__main__":
    sys.exit(main())
