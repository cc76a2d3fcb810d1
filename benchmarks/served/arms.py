"""What is compared: each way to ask each server, and how its answer is read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.load import tensors
from benchmarks.load.connection import Reply, post
from benchmarks.served import peers
from benchmarks.served.servers import HOST, Recipe, free_port

Array = npt.NDArray[Any]
NAME = "bench"
JSON = {"Content-Type": "application/json"}
RAW = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Case:
    """One model under one load.

    Attributes:
        title: in the results.
        onnx, bundle: the same model twice.
        inputs: single rows, input name -> array of shape (1, width).
        output: the output that is compared.
        width: numbers per row of each input.
        clients: of the closed loop.
        cap: rows in a batch at most, for every server.
        wait_ms: how long peers that need a batch window may wait.
    """

    title: str
    onnx: Path
    bundle: Path
    inputs: Sequence[Mapping[str, Array]]
    output: str
    width: int
    clients: int
    cap: int
    wait_ms: float

    def environment(self, port: int = 0) -> dict[str, str]:
        """What the scripts of peers read."""
        return {
            **os.environ,
            "BENCH_MODEL": str(self.onnx),
            "BENCH_WIDTH": str(self.width),
            "BENCH_CAP": str(self.cap),
            "BENCH_WAIT_MS": str(self.wait_ms),
            "BENCH_PORT": str(port),
        }


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to ask one server.

    Attributes:
        name: in the results.
        server: name of the server.
        requests: one for each row of the case.
        read: answer -> the model's output for that row, flat; `None` where there is no model.
        grpc: whether `requests` are gRPC messages.
    """

    name: str
    server: str
    requests: tuple[bytes, ...]
    read: Callable[[Reply], Array] | None
    grpc: bool = False


Made = tuple[Recipe, tuple[Arm, ...]]


def jettison(case: Case) -> Made:
    """Our server, as a user starts it: HTTP with JSON, with binary tensors, and gRPC."""
    port, grpc_port = free_port(), free_port()
    path = tensors.infer_path(NAME)
    arms = (
        Arm(
            "jettison, HTTP JSON",
            "jettison",
            tuple(tensors.json_request(path, row) for row in case.inputs),
            lambda reply: tensors.arrays_of(reply)[case.output].ravel(),
        ),
        Arm(
            "jettison, HTTP binary",
            "jettison",
            tuple(tensors.binary_request(path, row) for row in case.inputs),
            lambda reply: tensors.arrays_of(reply)[case.output].ravel(),
        ),
        Arm(
            "jettison, gRPC",
            "jettison",
            tuple(tensors.grpc_request(NAME, row) for row in case.inputs),
            lambda reply: tensors.grpc_arrays(reply.body)[case.output].ravel(),
            grpc=True,
        ),
    )
    command = [
        *(sys.executable, "-m", "jettison", "serve", f"{NAME}={case.bundle}"),
        *("--port", str(port), "--grpc-port", str(grpc_port)),
        *("--max-batch-rows", str(case.cap), "--allow-uncertified"),
    ]
    recipe = Recipe(
        "jettison", command, {}, Path.cwd(), port, arms[0].requests[0], grpc_port=grpc_port
    )
    return recipe, arms


def holding(case: Case) -> Made:
    """Our server, told to wait for a batch mate that recent arrivals promise."""
    port = free_port()
    path = tensors.infer_path(NAME)
    requests = tuple(tensors.binary_request(path, row) for row in case.inputs)
    command = [
        *(sys.executable, "-m", "jettison", "serve", f"{NAME}={case.bundle}"),
        *("--port", str(port), "--no-grpc", "--max-batch-rows", str(case.cap)),
        *("--hold-ms", str(case.wait_ms), "--allow-uncertified"),
    ]
    name = f"jettison, HTTP binary, --hold-ms {case.wait_ms:g}"
    recipe = Recipe("jettison with a hold", command, {}, Path.cwd(), port, requests[0])
    return recipe, (
        Arm(
            name,
            recipe.name,
            requests,
            lambda reply: tensors.arrays_of(reply)[case.output].ravel(),
        ),
    )


def empty(case: Case, name: str, requests: tuple[bytes, ...], answer_bytes: int) -> Made:
    """The endpoint without a model, for requests and answers of the same size."""
    port = free_port()
    environment = {**case.environment(port), "BENCH_ANSWER_BYTES": str(answer_bytes)}
    command = [sys.executable, str(peers.SCRIPTS / "empty.py")]
    recipe = Recipe(name, command, environment, peers.SCRIPTS, port, requests[0])
    return recipe, (Arm(name, name, requests, None),)


def ceiling(case: Case, name: str, requests: tuple[bytes, ...]) -> Made:
    """The least that answers: beside it one sees where the generator itself is the limit."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.load.plain_server", str(port)]
    recipe = Recipe(name, command, {}, Path.cwd(), port, requests[0])
    return recipe, (Arm(name, name, requests, None),)


def mosec(case: Case, python: Path, folder: Path) -> Made:
    """Raw bytes in and out."""
    port = free_port()
    requests = tuple(
        post("/inference", b"".join(a.tobytes() for a in row.values()), RAW) for row in case.inputs
    )
    environment = {
        **case.environment(port),
        "MOSEC_PORT": str(port),
        "MOSEC_ADDRESS": HOST,
        "MOSEC_LOG_LEVEL": "warning",
        "MOSEC_TIMEOUT": "60000",
    }
    command = [str(python), str(peers.SCRIPTS / "mosec_server.py")]
    recipe = Recipe("mosec", command, environment, peers.SCRIPTS, port, requests[0])
    return recipe, (
        Arm("mosec", "mosec", requests, lambda reply: np.frombuffer(reply.body, np.float32)),
    )


def litserve(case: Case, python: Path, folder: Path) -> Made:
    """JSON objects."""
    port = free_port()
    requests = tuple(
        post("/predict", _json({n: a.ravel().tolist() for n, a in row.items()}), JSON)
        for row in case.inputs
    )
    command = [str(python), str(peers.SCRIPTS / "litserve_server.py")]
    recipe = Recipe("LitServe", command, case.environment(port), peers.SCRIPTS, port, requests[0])
    return recipe, (
        Arm(
            "LitServe",
            "LitServe",
            requests,
            lambda reply: np.asarray(json.loads(reply.body)["output"], np.float32),
        ),
    )


def mlserver(case: Case, python: Path, folder: Path) -> Made:
    """OIP with JSON tensors; its own batching counts requests."""
    port, grpc_port, metrics_port = free_port(), free_port(), free_port()
    settings = {
        "host": HOST,
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": NAME,
        "implementation": "mlserver_model.Inference",
        "max_batch_size": case.cap,
        "max_batch_time": case.wait_ms / 1000.0,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    requests = tuple(tensors.json_request(tensors.infer_path(NAME), row) for row in case.inputs)
    environment = {**case.environment(port), "PYTHONPATH": str(peers.SCRIPTS)}
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    recipe = Recipe("MLServer", command, environment, folder, port, requests[0])
    return recipe, (
        Arm(
            "MLServer",
            "MLServer",
            requests,
            lambda reply: tensors.arrays_of(reply)["output"].ravel().astype(np.float32),
        ),
    )


def bentoml(case: Case, python: Path, folder: Path) -> Made:
    """JSON with one list of numbers."""
    port = free_port()
    requests = tuple(
        post(
            "/predict",
            _json({"rows": [np.concatenate([a.ravel() for a in row.values()]).tolist()]}),
            JSON,
        )
        for row in case.inputs
    )
    environment = {
        **case.environment(port),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(folder),
    }
    command = [
        *(str(python.with_name("bentoml")), "serve", "bentoml_service:Inference"),
        *("--host", HOST, "--port", str(port)),
    ]
    recipe = Recipe("BentoML", command, environment, peers.SCRIPTS, port, requests[0])
    return recipe, (
        Arm(
            "BentoML",
            "BentoML",
            requests,
            lambda reply: np.asarray(json.loads(reply.body)[0], np.float32),
        ),
    )


PEERS: Mapping[str, Callable[[Case, Path, Path], Made]] = {
    "mosec": mosec,
    "litserve": litserve,
    "mlserver": mlserver,
    "bentoml": bentoml,
}
"""Key of `peers.PACKAGES` -> how it takes part: the case, its Python, a folder of its own."""


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
