"""Which multiples of channels the kernels of this machine like, as measured; kept for later.

Kernels work on several channels at once, so the last few cost as much as a whole step. How many
that are depends on the processor and on the library, so it is timed: once for each machine and
kind of layer, in a file of the run's cache.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.device import Device
from jettison.domain.files import write_atomically

__all__ = ["WIDTHS", "best_step", "measured_step"]

WIDTHS: Mapping[int, tuple[int, ...]] = {
    1: (47, 49),
    2: (46, 50),
    4: (44, 52),
    8: (40, 56),
    16: (48,),
}
"""For each step, widths that are multiples of it and of no larger one; their mean is 48."""

WORTH = 0.05
"""A larger step is taken if it saves this share of the time for each product."""

ROUNDS = 15
POSITIONS = 16
OTHER = 48

Times = Mapping[int, float]
"""Width -> seconds."""


def measured_step(kind: str, cache: Path, device: Device) -> int:
    """The step to round channel counts to on this machine.

    ONNX Runtime's kernels are timed where it is installed, because that is what serves most
    narrowed models; otherwise PyTorch's.

    Args:
        kind: `convolution` or `matmul`.
        cache: folder of facts that a run shares.
        device: names the machine in the file.
    """
    library = "onnxruntime" if importlib.util.find_spec("onnxruntime") else "torch"
    path = cache / f"channel-step-{kind}-{library}-{device.cpu_class}.json"
    if path.exists():
        return int(json.loads(path.read_text(encoding="utf-8"))["step"])
    make = _onnx_call if library == "onnxruntime" else _torch_call
    times = _timed({width: make(kind, width) for widths in WIDTHS.values() for width in widths})
    step = best_step(times)
    told = {"step": step, "library": library, "seconds": {str(w): t for w, t in times.items()}}
    write_atomically(path, json.dumps(told, indent=1))
    return step


def best_step(times: Times) -> int:
    """The smallest step after which no larger one saves more than `WORTH` for each product.

    Args:
        times: seconds of one call at each of `WIDTHS`; products grow with the width.
    """
    cost = {
        step: statistics.mean(times[width] / width for width in widths)
        for step, widths in WIDTHS.items()
    }
    least = min(cost.values())
    return next(step for step in WIDTHS if cost[step] <= least * (1 + WORTH))


def _timed(calls: Mapping[int, Callable[[], Any]]) -> dict[int, float]:
    """The fastest of some interleaved calls: what others do on the machine only adds time."""
    for call in calls.values():
        call()
    seen: dict[int, list[float]] = {width: [] for width in calls}
    for _ in range(ROUNDS):
        for width, call in calls.items():
            start = time.perf_counter()
            call()
            seen[width].append(time.perf_counter() - start)
    return {width: min(values) for width, values in seen.items()}


def _shapes(kind: str, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the input and of the weights of a layer that makes `width` channels."""
    if kind == "convolution":
        return (1, OTHER, POSITIONS, POSITIONS), (width, OTHER, 3, 3)
    return (POSITIONS * POSITIONS, 4 * OTHER), (4 * OTHER, width)


def _onnx_call(kind: str, width: int) -> Callable[[], Any]:
    import onnx
    import onnxruntime

    given, weights = _shapes(kind, width)
    operator, settings = ("Conv", {"pads": [1] * 4}) if kind == "convolution" else ("MatMul", {})
    values = np.random.default_rng(width).standard_normal(weights).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["x", "w"], ["y"], **settings)],
        "probe",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, given)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.ones(given, np.float32)
    return lambda: session.run(None, {"x": x})


def _torch_call(kind: str, width: int) -> Callable[[], Any]:
    import torch

    given, weights = _shapes(kind, width)
    generator = torch.Generator().manual_seed(width)
    x, w = torch.ones(given), torch.randn(weights, generator=generator)

    def call() -> Any:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(x, w, padding=1) if kind == "convolution" else x @ w

    return call
