"""Time to find activation ranges of networks for images: rows run apart, or tensors fetched apart.

    python -m benchmarks.calibration_passes [NET ...]        on a quiet machine, some minutes

Where the activations of a batch of 8 rows don't fit the memory that calibration may take, either the
batch is run once for each part of its tensors, or its rows are run apart. Nets of `benchmarks.cpu.nets`
with random weights, rows of noise. Both ways by turns, in random order; the interval is of the ratio
(Student's t on logarithms over turns, 95 %), and both must find the same ranges.
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.cpu import nets
from benchmarks.results_file import Row, write
from jettison import machine
from jettison.graphs.onnx_prepare import prepare_graph
from jettison.graphs.onnx_ranges import around
from jettison.graphs.onnx_storage import read_light
from jettison.graphs.onnx_taps import Taps
from jettison.numerics.calibration import Histogram, watch
from jettison.statistics.intervals import log_ratio_interval

NETS = {"resnet-50": "resnet50", "mobilenet-v2": "mobilenet"}
ROWS, BATCH, TURNS = 24, 8, 3
OPERATORS = ("Conv", "Relu", "MatMul", "Gemm", "MaxPool", "Add")
WAYS = {"tensors apart": False, "rows apart": True}


def main(names: list[str]) -> None:
    rows = [row for name in names or list(NETS) for row in of_net(name)]
    write("calibration_passes", rows, [f"{ROWS} rows in batches of {BATCH}, 1 thread."])


def of_net(name: str) -> list[Row]:
    x = np.random.default_rng(0).standard_normal((ROWS, 3, 224, 224)).astype(np.float32)
    batches = [{"input": x[i : i + BATCH]} for i in range(0, ROWS, BATCH)]
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        nets.export(getattr(nets, NETS[name])(), (3, 224, 224), path)
        (Path(folder) / "work").mkdir()
        graph = prepare_graph(path, Path(folder) / "work")
        tensors = around(read_light(graph), OPERATORS)
        found: dict[str, dict[str, Histogram]] = {}
        meter = machine.ContentionMeter([os.getpid()])
        for _ in range(TURNS):
            for way in order.sample(list(WAYS), len(WAYS)):
                begun = time.perf_counter()
                taps = Taps(graph, tensors, threads=1, apart=WAYS[way])
                found[way] = watch(taps.names, batches, taps.run)
                seconds[way].append(time.perf_counter() - begun)
                print(f"{name} {way}: {seconds[way][-1]:.1f} s", flush=True)
        told = str(meter.stop(0, 0))
    apart, before = (found[way] for way in reversed(WAYS))
    for tensor, seen in before.items():
        ends = (apart[tensor].lowest, apart[tensor].highest)
        if not np.allclose(ends, (seen.lowest, seen.highest), rtol=1e-4):
            raise SystemExit(f"{name}: the range of {tensor} differs: {ends}")
    rows = [_row(name, way, "time", [math.log(s) for s in seconds[way]], "s") for way in WAYS]
    pairs = zip(*(seconds[way] for way in WAYS))
    logs = [math.log(a / b) for a, b in pairs]
    return [*rows, _row(name, "rows apart", "speed", logs, "ratio", told)]


def _row(name: str, way: str, metric: str, logs: list[float], unit: str, note: str = "") -> Row:
    found = log_ratio_interval(logs)
    print(f"{name} {way} {metric}: {found.value:.2f} [{found.low:.2f}, {found.high:.2f}] {unit}")
    return Row(name, way, metric, found.value, found.low, found.high, unit, len(logs), note)


if __name__ == "__main__":
    main(sys.argv[1:])
