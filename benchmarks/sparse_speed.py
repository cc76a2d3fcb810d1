"""Where do zeros pay on this CPU? Pruned weights on each runtime, as a ratio to dense weights.

Masks are plain magnitude, made here: this is about time, not about quality. Dense and pruned run
in one process with one thread, in rounds of random order. Processor seconds are read, not the
clock: with one thread they are the same on a quiet machine, and others can't lengthen them by
taking the core. The ratio of a round is that of the medians of its calls, and the interval is a
t-interval over the rounds' log ratios. A second copy of the dense model (`a/a`) shows how far two
equal models can seem apart.

    python -m benchmarks.sparse_speed [seconds per pair]
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy import stats

from benchmarks.minilm import minilm
from benchmarks.results_file import Row, write
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.recipe import Recipe, Step
from jettison.domain.rows import Array
from jettison.graphs.openvino_ir import import_openvino, read_onnx, settle_weights
from jettison.graphs.openvino_layers import fixed_shapes
from jettison.graphs.openvino_quantize import Rounding, quantize
from jettison.pipeline.apply import apply
from jettison.pipeline.load import load_model
from jettison.pipeline.split import made_up_data
from jettison.runtimes.openvino import properties
from jettison.worker_client import QUIET

WORK = Path(".bench/sparse").absolute()
WIDTH, INNER, BLOCKS, POSITIONS = 384, 1536, 1, 128
SMALLEST = 128 * 128
"""Matrices with fewer weights are left dense."""

PATTERNS = ("0.5", "0.8", "0.9", "0.95", "2:4")
INT8_PATTERNS = ("0.5", "0.9", "2:4")
"""Quantizing takes a while, and the sparse rate asks for half zeros."""

CALLS, FEWEST_ROUNDS = 3, 8

Call = Callable[[], Any]


def pruned(weights: Array, pattern: str) -> Array:
    """Sets the smallest weights of a matrix to zero; 2:4 along its longest axis."""
    if pattern == "2:4":
        axis = int(np.argmax(weights.shape))
        groups = np.moveaxis(weights, axis, -1)
        four = groups.reshape(*groups.shape[:-1], -1, 4).copy()
        smallest = np.argsort(np.abs(four), axis=-1)[..., :2]
        np.put_along_axis(four, smallest, 0.0, axis=-1)
        return np.ascontiguousarray(np.moveaxis(four.reshape(groups.shape), -1, axis))
    limit = np.quantile(np.abs(weights), float(pattern))
    return np.where(np.abs(weights) > limit, weights, np.float32(0.0))


def stack(path: Path) -> None:
    """Writes the products of transformer blocks, without what stands between them."""
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    shapes = [(WIDTH, WIDTH)] * 4 + [(WIDTH, INNER), (INNER, WIDTH)]
    for place, shape in enumerate(shapes * BLOCKS):
        values = rng.normal(0, 1 / math.sqrt(shape[0]), shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{place}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{place}"], [f"m{place}"], f"m{place}"))
        nodes.append(helper.make_node("Relu", [f"m{place}"], [f"h{place}"], f"r{place}"))
        name = f"h{place}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "stack",
        [value("x", TensorProto.FLOAT, ["n", WIDTH])],
        [value(name, TensorProto.FLOAT, ["n", WIDTH])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def transformer(path: Path) -> None:
    """Exports MiniLM as jettison does."""
    model = load_model(ModelSection(str(minilm()), task="embedding"), WORK / "minilm")
    fitting = made_up_data(model, WORK / "minilm-rows", 0).fitting
    recipe = Recipe((Step("export_onnx"),), Step("onnx_runtime"))
    made = apply(model, recipe, fitting, WORK / "exported", ServingProfile())
    proto = onnx.load(made.model.artifact.path)
    onnx.save(proto, path)


def masked(source: Path, pattern: str) -> Path:
    """The graph with its constant matrices pruned; tables of words stay."""
    path = source.with_name(f"{source.stem}-{pattern.replace(':', 'of')}.onnx")
    model = onnx.load(source)
    read = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    for tensor in model.graph.initializer:
        if tensor.name in read and np.prod(tensor.dims) >= SMALLEST:
            values = pruned(numpy_helper.to_array(tensor), pattern)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)
    return path


def onnx_call(path: Path, feed: Mapping[str, Array]) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda: session.run(None, dict(feed))


def openvino_call(sparse_rate: float, *, int8: bool) -> Callable[[Path, Mapping[str, Array]], Call]:
    def make(path: Path, feed: Mapping[str, Array]) -> Call:
        graph = read_onnx(path)
        settle_weights(graph)
        if int8:
            text = "input_ids" in feed
            rounding = Rounding(not text, "off", "all", text, 4)
            graph = quantize(graph, [dict(feed)], rounding)
        wanted = properties({"sparse_rate": sparse_rate}, ServingProfile())
        request = import_openvino().Core().compile_model(graph, "CPU", wanted)
        return lambda: request(dict(feed))

    return make


def fixed_call(path: Path, feed: Mapping[str, Array]) -> Call:
    """The dense graph compiled for exactly these shapes."""
    graph = fixed_shapes(read_onnx(path), {name: values.shape for name, values in feed.items()})
    wanted = properties({}, ServingProfile())
    request = import_openvino().Core().compile_model(graph, "CPU", wanted)
    return lambda: request(dict(feed))


def torch_call(*, sparse: bool) -> Callable[[Path, Mapping[str, Array]], Call]:
    """The stack as torch runs it: dense matrices, or those of a pruned graph as CSR."""

    def make(path: Path, feed: Mapping[str, Array]) -> Call:
        import torch

        torch.set_num_threads(1)
        x = torch.from_numpy(feed["x"]).t().contiguous()
        matrices = [
            torch.from_numpy(numpy_helper.to_array(t).T.copy())
            for t in onnx.load(path).graph.initializer
        ]
        layers = [m.to_sparse_csr() if sparse else m for m in matrices]

        def run() -> Any:
            with torch.inference_mode():
                h = x
                for layer in layers:
                    h = torch.relu(layer @ h)
            return h

        return run

    return make


def ratio(one: Call, other: Call, seconds: float, seed: int) -> tuple[float, float, float, int]:
    """Time of the first over time of the second, with its 95 % interval and the rounds."""
    rng = np.random.default_rng(seed)
    for call in (one, other):
        call()
    logs: list[float] = []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds or len(logs) < FEWEST_ROUNDS:
        took = {}
        for place in rng.permutation(2):
            call = (one, other)[place]
            call()
            readings = []
            for _ in range(CALLS):
                start = time.process_time()
                call()
                readings.append(time.process_time() - start)
            took[place] = statistics.median(readings)
        logs.append(math.log(took[0] / took[1]))
    mean = statistics.fmean(logs)
    half = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs)


def rows_of(title: str, source: Path, feed: Mapping[str, Array], seconds: float) -> Iterator[Row]:
    """Each runtime: a second copy of the dense model, then each pattern of zeros."""
    dense: dict[str, Callable[[Path, Mapping[str, Array]], Call]] = {
        "onnxruntime": onnx_call,
        "openvino": openvino_call(1.0, int8=False),
        "openvino int8": openvino_call(1.0, int8=True),
    }
    zeros = {
        **dense,
        "openvino, sparse rate 0.5": openvino_call(0.5, int8=False),
        "openvino int8, sparse rate 0.5": openvino_call(0.5, int8=True),
    }
    if "x" in feed:
        dense["torch"] = zeros["torch"] = torch_call(sparse=False)
        zeros["torch, CSR"] = torch_call(sparse=True)
    free = openvino_call(1.0, int8=False)(source, feed)
    value, low, high, n = ratio(free, fixed_call(source, feed), seconds, 2)
    yield Row(title, "openvino", "speed, shapes fixed", value, low, high, "free over fixed time", n)
    masks = {pattern: masked(source, pattern) for pattern in PATTERNS}
    for name, make in zeros.items():
        base = dense[name.partition(",")[0]](source, feed)
        unit = "dense time over its own"
        if name in dense:
            value, low, high, n = ratio(base, make(source, feed), seconds, 0)
            yield Row(title, name, "speed, a/a", value, low, high, unit, n)
        for pattern in INT8_PATTERNS if "int8" in name else PATTERNS:
            value, low, high, n = ratio(base, make(masks[pattern], feed), seconds, 1)
            print(
                f"{title:12} {name:32} {pattern:5} {value:.3f} [{low:.3f}, {high:.3f}]", flush=True
            )
            yield Row(title, name, f"speed, zeros {pattern}", value, low, high, unit, n)


NOTES = [
    f"stack: {BLOCKS} x (4 products {WIDTH} x {WIDTH}, {WIDTH} x {INNER}, {INNER} x {WIDTH}) on "
    f"{POSITIONS} rows; MiniLM: 1 text of {POSITIONS} tokens; 1 thread.",
    "Magnitude masks per matrix; tables of words stay dense. int8: NNCF, 7-bit weights.",
    "`sparse rate` is CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE. In the sources of OpenVINO it asks for "
    "AMX, 8-bit weights and activations, and sizes that are multiples of 64.",
    "Processor seconds; one process, one launch: intervals are over rounds. The stored run had the "
    "machine to itself (1 second a pair, at least 8 rounds).",
]


def main(seconds: float) -> None:
    os.environ.update(QUIET)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    rng = np.random.default_rng(0)
    stack(WORK / "stack.onnx")
    feed = {"x": rng.normal(size=(POSITIONS, WIDTH)).astype(np.float32)}
    found = list(rows_of("stack", WORK / "stack.onnx", feed, seconds))
    # What was measured is kept if the larger model fails.
    write("sparse_speed", found, NOTES)
    transformer(WORK / "minilm.onnx")
    ids = rng.integers(1000, 20000, (1, POSITIONS))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0}
    known = {value.name for value in onnx.load(WORK / "minilm.onnx").graph.input}
    feed = {name: values for name, values in feed.items() if name in known}
    found += rows_of("MiniLM", WORK / "minilm.onnx", feed, seconds)
    write("sparse_speed", found, NOTES)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
