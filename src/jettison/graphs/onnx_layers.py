"""The operators of a prepared graph that 8-bit weights can go into."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jettison.graphs.onnx_walk import nodes_of


@dataclass(frozen=True, slots=True)
class WeightPlace:
    """Where an operator type keeps activations and weights.

    Attributes:
        activation: index of the input that is rounded while it runs; `None` where only weights
            are (look-up tables).
        weights: indices of the weights.
        axis: channel axis of the weights, where each channel may have a scale of its own.
    """

    activation: int | None
    weights: tuple[int, ...]
    axis: int | None


PLACES: Mapping[str, WeightPlace] = {
    "MatMul": WeightPlace(0, (1,), -1),
    "Gemm": WeightPlace(0, (1,), -1),
    "Attention": WeightPlace(0, (1,), -1),
    "Conv": WeightPlace(0, (1,), 0),
    "ConvTranspose": WeightPlace(0, (1,), 1),
    "Gather": WeightPlace(None, (0,), None),
    "EmbedLayerNormalization": WeightPlace(None, (2, 3, 4), None),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator with constant float weights.

    Attributes:
        node: its name.
        operator: its type.
        activation: name of the activation that it reads, or empty.
        weights: names of the initializers.
        axis: channel axis of the weights, counted from 0; `None` where there is one scale.
    """

    node: str
    operator: str
    activation: str
    weights: tuple[str, ...]
    axis: int | None


def quantizable_layers(model: Any, operators: Collection[str]) -> tuple[Layer, ...]:
    """Lists the layers of the main graph whose weights are float initializers, in graph order.

    Args:
        model: an `onnx.ModelProto` that `prepare_graph` wrote; its external data is not read.
        operators: types to look for, keys of `PLACES`.
    """
    import onnx

    floats = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2
    }
    found = []
    for node in model.graph.node:
        place = PLACES.get(node.op_type)
        if place is None or node.op_type not in operators:
            continue
        inputs = list(node.input)
        names = tuple(inputs[i] for i in place.weights if i < len(inputs) and inputs[i] in floats)
        if not names:
            continue
        rank = len(floats[names[0]].dims)
        axis = None if place.axis is None else place.axis % rank
        if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
            axis = 0
        activation = "" if place.activation is None else inputs[place.activation]
        found.append(Layer(node.name, node.op_type, activation, names, axis))
    return tuple(found)


def layers_in_branches(model: Any, operators: Collection[str]) -> int:
    """How many operators of these types lie inside `If` branches or loop bodies."""
    main = sum(node.op_type in operators for node in model.graph.node)
    return sum(node.op_type in operators for node in nodes_of(model)) - main


def weight_values(model: Any, name: str, folder: str) -> np.ndarray[Any, Any]:
    """Reads one initializer of the main graph, from the file beside it where it lies there."""
    import onnx

    tensor = next(t for t in model.graph.initializer if t.name == name)
    values: np.ndarray[Any, Any] = onnx.numpy_helper.to_array(tensor, folder)
    return values


def weight_count(model: Any, layers: Collection[Layer], spared: Collection[str]) -> int:
    """How many weights these layers hold, without the spared ones; shared weights count once."""
    names = {name for layer in layers if layer.node not in spared for name in layer.weights}
    return sum(math.prod(t.dims) for t in model.graph.initializer if t.name in names)


def sparable(model: Any, layers: Collection[Layer]) -> tuple[Layer, ...]:
    """The layers that may stay in float without most of the size staying as well.

    A look-up table that holds more than a quarter of all these weights is left out: sparing it
    costs nothing in speed, but the file would hardly shrink.
    """
    whole = weight_count(model, layers, ())
    return tuple(
        layer
        for layer in layers
        if layer.activation or 4 * weight_count(model, [layer], ()) <= whole
    )
