"""A small real run: the MNIST network of CNTK on MNIST's own test images."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.record import from_json
from jettison.domain.run import RunRecord
from jettison.trust.ledger import Ledger

ROWS = 3000


@dataclass(frozen=True)
class Given:
    """What a user has: a model file and a data file."""

    model: Path
    data: Path


@pytest.fixture(scope="session")
def digits(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The network, and rows with label and two made-up sites."""
    folder = tmp_path_factory.mktemp("digits")
    with np.load(shared_data / "vision" / "mnist.npz") as mnist:
        images = mnist["x_test"][:ROWS].reshape(ROWS, 1, 28, 28).astype(np.float32)
        labels = mnist["y_test"][:ROWS].astype(np.int64)
    site = np.where(np.arange(ROWS) % 3 == 0, "north", "south")
    np.savez(folder / "digits.npz", Input3=images, label=labels, site=site)
    return Given(shared_data / "models" / "mnist-cnn-cntk.onnx", folder / "digits.npz")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """A made-up network of two layers, and rows that it labels itself: quick, needs no data."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    first = rng.normal(0, 0.3, (16, 256)).astype(np.float32)
    second = rng.normal(0, 0.3, (256, 3)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "small.onnx")
    x = rng.normal(size=(600, 16)).astype(np.float32)
    label = (np.maximum(x @ first, 0) @ second).argmax(axis=1)
    site = np.where(np.arange(len(x)) % 3 == 0, "north", "south")
    np.savez(folder / "small.npz", x=x, label=label, site=site)
    return Given(folder / "small.onnx", folder / "small.npz")


def prepared(setup: str, words: list[str]) -> list[str]:
    """The command line in a process that runs one Python statement first.

    Not `preexec_fn`: libraries with threads of their own (gRPC) abort in a plain fork.
    """
    start = "os.execv(sys.executable, [sys.executable, '-m', 'jettison', *sys.argv[1:]])"
    return [sys.executable, "-c", f"import os, resource, signal, sys; {setup}; {start}", *words]


def looks(ledger: Path) -> int:
    """How many looks at sealed rows a ledger was charged with."""
    return sum(entry.kind == "look" for entry in Ledger.at(str(ledger)).entries())


def record_of(folder: Path) -> RunRecord:
    """What the run wrote down."""
    return from_json(RunRecord, (folder / "run.json").read_bytes())


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def jettison(tmp_path: Path) -> Command:
    """Runs the command line in an empty folder; gives the finished process."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jettison", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=800,
        )

    return run


def options(given: Given, ledger: Path, *more: str) -> list[str]:
    """A run whose cost is the size of the file, so that a busy machine can't change its answer."""
    return [
        "optimize",
        str(given.model),
        "--data",
        str(given.data),
        "--target",
        "label",
        "--group",
        "site",
        "--max-drop",
        "0.01",
        "--max-drop-group",
        "0.02",
        "--minimise",
        "size_bytes",
        "--minimise",
        "latency_ms",
        "--ledger",
        str(ledger),
        *more,
    ]
