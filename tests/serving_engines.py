"""Real engines for the tests of batching, with what they saw; failures are injected around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.recipe import Step
from jettison.domain.rows import Array, Batch
from jettison.serving.engine import Engine
from jettison.serving.requests import InferenceRequest

FEATURES = 16
VOCABULARY = 50
PAD = {"ids": 0.0, "mask": 0.0}
TOLERANCE = 1e-5


async def load(model: Model) -> Engine:
    """Loads a model as it is served by default."""
    return await Engine.load(model, Step("onnx_runtime"), ServingProfile())


def make_classifier(folder: Path, batch: int | str = "batch") -> Model:
    """A dense layer with a softmax over 4 classes, random weights: input `x`, output `scores`."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(FEATURES, 4)).astype(np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]
    inputs = {"x": (TensorProto.FLOAT, [batch, FEATURES])}
    _save(folder, nodes, weights, (inputs, {"scores": [batch, 4]}))
    traits = {"onnx"} if isinstance(batch, str) else {"onnx", "fixed-batch"}
    return Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx",)),
        traits=frozenset(traits),
        inputs=(TensorSpec("x", "float32", (batch, FEATURES)),),
        outputs=(TensorSpec("scores", "float32", (batch, 4)),),
        prediction="scores",
        task="classification",
        encoder=Encoder("arrays"),
    )


def make_tagger(folder: Path, tags_axis: str = "tokens") -> Model:
    """Means of word vectors under a mask (`scores`), and three numbers for each token (`tags`).

    A word beyond the vocabulary makes onnxruntime fail: the poison of these tests.
    """
    rng = np.random.default_rng(0)
    weights = {
        "words": rng.normal(size=(VOCABULARY, 8)).astype(np.float32),
        "out": rng.normal(size=(8, 2)).astype(np.float32),
        "tagging": rng.normal(size=(8, 3)).astype(np.float32),
        "last": np.array([-1], dtype=np.int64),
        "second": np.array([1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["vectors"]),
        helper.make_node("MatMul", ["vectors", "tagging"], ["tags"]),
        helper.make_node("Cast", ["mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "last"], ["wide"]),
        helper.make_node("Mul", ["vectors", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "second"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weight", "second"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "out"], ["scores"]),
    ]
    ragged = (TensorProto.INT64, ["batch", "tokens"])
    outputs: dict[str, list[int | str]] = {
        "scores": ["batch", 2],
        "tags": ["batch", tags_axis, 3],
    }
    _save(folder, nodes, weights, ({"ids": ragged, "mask": ragged}, outputs))
    return Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx",)),
        traits=frozenset({"onnx"}),
        inputs=(
            TensorSpec("ids", "int64", ("batch", "tokens")),
            TensorSpec("mask", "int64", ("batch", "tokens")),
        ),
        outputs=(
            TensorSpec("scores", "float32", ("batch", 2)),
            TensorSpec("tags", "float32", ("batch", tags_axis, 3)),
        ),
        prediction="scores",
        task="classification",
        encoder=Encoder("tokenizer", {"max_length": 64}),
    )


def _save(
    folder: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    ports: tuple[dict[str, tuple[int, list[int | str]]], dict[str, list[int | str]]],
) -> None:
    inputs, outputs = ports
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, shape)
            for n, shape in outputs.items()
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")


def features(seed: int, rows: int = 1) -> dict[str, Array]:
    """Rows for the classifier; `x[:, 0]` is the seed, so that an engine's log tells whose it saw."""
    values = np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype(np.float32)
    values[:, 0] = seed
    return {"x": values}


def words(seed: int, rows: int, length: int) -> dict[str, Array]:
    """Rows for the tagger, the first of them `length` long and the others shorter or equal."""
    rng = np.random.default_rng(seed)
    lengths = np.concatenate([[length], rng.integers(1, length + 1, rows - 1)])
    mask = np.arange(length) < lengths[:, None]
    ids = np.where(mask, rng.integers(1, VOCABULARY, (rows, length)), 0)
    return {"ids": ids.astype(np.int64), "mask": mask.astype(np.int64)}


def ask(arrays: Mapping[str, Array], **more: object) -> InferenceRequest:
    """A request for all rows of some arrays."""
    return InferenceRequest(arrays, len(next(iter(arrays.values()))), **more)  # type: ignore[arg-type]


class Watched:
    """Runs batches on an engine, and keeps what came in. Its gate can be shut.

    Attributes:
        batches: every batch that began, in order.
        gate: while it is not set, a batch that has begun waits.
        begun: set when a batch begins; clear it to wait for the next.
        shut_at: the number of a batch (from 1) that finds the gate shut; 0 for none.
    """

    def __init__(self, run: Callable[[Batch], Awaitable[dict[str, Array]]]) -> None:
        self._run = run
        self.batches: list[Batch] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.shut_at = 0

    async def __call__(self, batch: Batch) -> dict[str, Array]:
        self.batches.append(batch)
        if len(self.batches) == self.shut_at:
            self.gate.clear()
        self.begun.set()
        await self.gate.wait()
        return await self._run(batch)

    @property
    def sizes(self) -> list[int]:
        """Rows of each batch."""
        return [len(next(iter(batch.values()))) for batch in self.batches]

    @property
    def seeds(self) -> list[list[int]]:
        """Whose rows (of `features`) were in each batch."""
        return [[int(value) for value in batch["x"][:, 0]] for batch in self.batches]


class Notes:
    """A `BatchObserver` that keeps everything."""

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.sizes: list[int] = []
        self.waits: list[Sequence[float]] = []
        self.refusals: list[str] = []

    def waiting(self, rows: int) -> None:
        self.queue.append(rows)

    def batch(self, rows: int, queue_seconds: Sequence[float], compute_seconds: float) -> None:
        self.sizes.append(rows)
        self.waits.append(queue_seconds)

    def rejected(self, reason: str) -> None:
        self.refusals.append(reason)


async def settle() -> None:
    """Lets everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)
