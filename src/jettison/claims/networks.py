"""Small networks with random weights: what speed and size depend on, in a second and without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.rows import Array
from jettison.errors import UsageError

OPSET = 17
CHANNELS, PIXELS, CLASSES = 3, 32, 10
LENGTH, NUMBERS = 64, 1024


class _Draft:
    """A graph that grows node by node; weights are drawn from one seeded stream."""

    def __init__(self, zeros: float) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)
        self._zeros = zeros

    def weight(self, *shape: int, fan_in: int) -> str:
        """Adds He-scaled weights of a shape, a share of them zero; gives their name."""
        values = self._random.normal(0.0, (2.0 / fan_in) ** 0.5, shape)
        values *= self._random.random(shape) >= self._zeros
        return self.constant(values.astype(np.float32))

    def constant(self, values: Array) -> str:
        """Adds an initializer; gives its name."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        """Adds a node with one output; gives the output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def save(self, last: str, shape: tuple[int, ...], path: Path) -> Path:
        """Writes the graph from input `x` of shape (batch, *shape) to output `scores`."""
        self.nodes.append(helper.make_node("Identity", [last], ["scores"], name="scores"))
        graph = helper.make_graph(
            self.nodes,
            "claim",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


def convolutional(path: Path, width: int = 64, zeros: float = 0.0) -> Path:
    """Five 3x3 convolutions on 32x32 images, `width` channels each, then scores of 10 classes."""
    draft = _Draft(zeros)
    value, channels = "x", CHANNELS
    for layer in range(5):
        weight = draft.weight(width, channels, 3, 3, fan_in=9 * channels)
        stride = 2 if layer in (1, 3) else 1
        value = draft.node("Conv", value, weight, pads=[1, 1, 1, 1], strides=[stride, stride])
        value = draft.node("Relu", value)
        channels = width
    value = draft.node("Flatten", draft.node("GlobalAveragePool", value))
    value = draft.node("MatMul", value, draft.weight(width, CLASSES, fan_in=width))
    return draft.save(value, (CHANNELS, PIXELS, PIXELS), path)


def dense(path: Path, width: int = 1024, zeros: float = 0.0) -> Path:
    """1,024 numbers, four matrices of `width`, scores of 10 classes: at one row, memory is all."""
    draft = _Draft(zeros)
    value, before = "x", NUMBERS
    for _ in range(4):
        value = draft.node("MatMul", value, draft.weight(before, width, fan_in=before))
        value = draft.node("Relu", value)
        before = width
    value = draft.node("MatMul", value, draft.weight(width, CLASSES, fan_in=width))
    return draft.save(value, (NUMBERS,), path)


def encoder(path: Path, width: int = 256, layers: int = 6, zeros: float = 0.0) -> Path:
    """A transformer encoder over 64 positions: attention of 4 heads and a 4x wide inner layer."""
    draft = _Draft(zeros)
    value = "x"
    for _ in range(layers):
        value = _normed(draft, draft.node("Add", value, _attention(draft, value, width)), width)
        inner = draft.node("MatMul", value, draft.weight(width, 4 * width, fan_in=width))
        inner = draft.node("Relu", inner)
        inner = draft.node("MatMul", inner, draft.weight(4 * width, width, fan_in=4 * width))
        value = _normed(draft, draft.node("Add", value, inner), width)
    value = draft.node("ReduceMean", value, axes=[1], keepdims=0)
    value = draft.node("MatMul", value, draft.weight(width, CLASSES, fan_in=width))
    return draft.save(value, (LENGTH, width), path)


def _attention(draft: _Draft, value: str, width: int) -> str:
    heads = draft.constant(np.array([0, LENGTH, 4, width // 4], np.int64))
    together = draft.constant(np.array([0, LENGTH, width], np.int64))
    scale = draft.constant(np.array((width // 4) ** -0.5, np.float32))

    def split(order: list[int]) -> str:
        made = draft.node("MatMul", value, draft.weight(width, width, fan_in=width))
        return draft.node("Transpose", draft.node("Reshape", made, heads), perm=order)

    scores = draft.node("MatMul", split([0, 2, 1, 3]), split([0, 2, 3, 1]))
    shares = draft.node("Softmax", draft.node("Mul", scores, scale), axis=-1)
    mixed = draft.node("MatMul", shares, split([0, 2, 1, 3]))
    mixed = draft.node("Reshape", draft.node("Transpose", mixed, perm=[0, 2, 1, 3]), together)
    return draft.node("MatMul", mixed, draft.weight(width, width, fan_in=width))


def _normed(draft: _Draft, value: str, width: int) -> str:
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    return draft.node(
        "LayerNormalization", value, draft.constant(ones), draft.constant(zeros), axis=-1
    )


NETWORKS: Mapping[str, Callable[..., Path]] = {
    "convolutional": convolutional,
    "dense": dense,
    "encoder": encoder,
}


def build(name: str, path: Path, **sizes: float) -> Path:
    """Writes one of the networks as an ONNX file.

    Raises:
        UsageError: if there is no such network.
    """
    if name not in NETWORKS:
        raise UsageError(f"no network `{name}`; there are: {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name](path, **sizes)
