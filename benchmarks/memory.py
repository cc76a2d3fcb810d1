"""Peak memory on a model over 200 MB: each job in a worker, and the parent's own growth.

A made-up network of four 4,096 x 4,096 products (268 MB). The bar: peak of the worker's process
tree less its level after imports at most 2x the model; the parent holds no weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from benchmarks.results_file import Row, write
from jettison import registry, worker_client
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import ApplyJob, SessionJob
from jettison.domain.recipe import Step
from jettison.errors import CandidateFailed
from jettison.pipeline.load import load_model
from jettison.pipeline.split import made_up_data

WIDTH, DEPTH = 4096, 4
WORK = Path(".bench/memory").absolute()


def write_network(path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for layer in range(DEPTH):
        values = rng.normal(0, 0.02, (WIDTH, WIDTH)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], [f"h{layer}"], f"m{layer}"))
        name = f"h{layer}"
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTH])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    write_network(WORK / "wide.onnx")
    parent = psutil.Process()
    before = parent.memory_info().rss
    model = load_model(ModelSection(str(WORK / "wide.onnx"), task="embedding"), WORK / "model")
    fitting = made_up_data(model, WORK / "data", 0).fitting
    size = model.artifact.size_bytes
    rows = []
    for name in ("int8_dynamic", "int8_static", "half_precision"):
        folder = WORK / name
        for part in ("model", "cache"):
            (folder / part).mkdir(parents=True)
        job = ApplyJob(
            model,
            Step(name),
            fitting,
            str(folder / "model"),
            str(folder / "cache"),
            ServingProfile(),
        )
        try:
            answer = worker_client.run_apply(job)
            used = (answer.peak_memory_bytes - answer.base_memory_bytes) / size
            rows.append(
                Row(
                    "wide, 268 MB", f"apply {name}", "peak over model", used, None, None, "ratio", 1
                )
            )
        except CandidateFailed as failure:
            rows.append(
                Row(
                    "wide, 268 MB",
                    f"apply {name}",
                    "peak over model",
                    None,
                    None,
                    None,
                    "ratio",
                    1,
                    str(failure),
                )
            )
    runtime = registry.home_runtime(model.traits).name
    job = SessionJob(model, Step(runtime), fitting.rows, ServingProfile())
    (WORK / "session").mkdir()
    with worker_client.WorkerSession(job, WORK / "session") as session:
        session.burst(1, 3)
        used = session.resources()
        ratio = (used.peak_memory_bytes - used.base_memory_bytes) / size
    rows.append(
        Row("wide, 268 MB", "load and run", "peak over model", ratio, None, None, "ratio", 1)
    )
    growth = (parent.memory_info().rss - before) / size
    rows.append(Row("wide, 268 MB", "parent", "growth over model", growth, None, None, "ratio", 1))
    write("memory", rows, ["One run each; bytes of the process tree less its level after imports."])
    for row in rows:
        print(row.method, row.value, row.note)


if __name__ == "__main__":
    main()
