"""Parameters, bytes and multiply-accumulates of each operator of an ONNX graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.graphs.onnx_shapes import Shape, infer_values, known_shapes
from jettison.graphs.onnx_storage import read_light
from jettison.graphs.onnx_walk import (
    PASS_THROUGH,
    ensure_node_names,
    graph_inputs,
    graphs_of,
    nodes_of,
    stored_bytes,
)

STRINGS = 8
"""`TensorProto.STRING`: text has no fixed size."""


@dataclass(frozen=True, slots=True)
class NodeCost:
    """One operator.

    Attributes:
        parameters: constant values that it alone reads.
        macs: multiply-accumulates for one example; `None` where a shape is unknown.
        bytes: of its constant inputs, as stored; a constant with several readers counts for the
            first one only, so that the sum over a graph is what the file holds.
        operator: its type.
        activation_bytes: of what it reads besides constants and what it writes, for one example;
            `None` where a shape is unknown.
    """

    parameters: int
    macs: int | None
    bytes: int
    operator: str
    activation_bytes: int | None = None


def node_costs(
    path: Path, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, NodeCost]:
    """Costs of every operator of the graph at `path`, in the order of the graph.

    Args:
        path: of the .onnx file; its external data is not read.
        shapes: input name -> shape of one example with its batch dimension, for graphs with
            free dimensions besides the batch; without it the batch is 1 and the others unknown.

    Returns:
        Node name -> cost. Nodes without a name get the one of `ensure_node_names`. `Constant`
        nodes are left out. Branches and loop bodies count once.
    """
    model = read_light(path)
    ensure_node_names(model)
    stored = _stored(model)
    for value in graph_inputs(model):
        _fix_shape(value, (shapes or {}).get(value.name))
    known = known_shapes(model)
    kinds = _element_kinds(model)
    known |= {name: dims for name, (dims, _) in stored.items()}
    origin = _origins(model, stored)
    readers = Counter(
        origin[name]
        for node in nodes_of(model)
        for name in set(node.input)
        if name in origin and node.output[0] not in origin
    )
    charged: set[str] = set()
    costs: dict[str, NodeCost] = {}
    for node in nodes_of(model):
        if node.op_type == "Constant":
            continue
        constants: list[str] = []
        if node.output[0] not in origin:
            constants = list(dict.fromkeys(origin[n] for n in node.input if n in origin))
        costs[node.name] = NodeCost(
            parameters=sum(math.prod(stored[n][0]) for n in constants if readers[n] == 1)
            + _attribute_values(node),
            macs=_macs(node, known),
            bytes=sum(stored[n][1] for n in constants if n not in charged)
            + 4 * _attribute_values(node),
            operator=node.op_type,
            activation_bytes=_activation_bytes(node, known, origin, kinds),
        )
        charged.update(constants)
    return costs


def _stored(model: Any) -> dict[str, tuple[tuple[int, ...], int]]:
    """Constant name -> dimensions and bytes, of initializers and `Constant` nodes."""
    stored = {
        tensor.name: (tuple(tensor.dims), stored_bytes(tensor))
        for graph in graphs_of(model)
        for tensor in graph.initializer
    }
    for node in nodes_of(model):
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    tensor = attribute.t
                    stored[node.output[0]] = (tuple(tensor.dims), stored_bytes(tensor))
                elif len(attribute.ints) or len(attribute.floats):
                    count = len(attribute.ints) or len(attribute.floats)
                    size = 8 if len(attribute.ints) else 4
                    stored[node.output[0]] = ((count,), size * count)
                else:
                    stored[node.output[0]] = ((), 8 if attribute.name == "value_int" else 4)
    return stored


def _origins(model: Any, stored: Mapping[str, Any]) -> dict[str, str]:
    """Value -> the stored constant that it is: a reshaped or cast weight is still that weight."""
    origin = {name: name for name in stored}
    for node in nodes_of(model):
        if node.op_type in PASS_THROUGH and node.input and node.input[0] in origin:
            origin |= dict.fromkeys(node.output, origin[node.input[0]])
    return origin


def _element_kinds(model: Any) -> dict[str, int]:
    """Bytes of one element of each value whose type the graph tells or inference finds."""
    from onnx import helper

    kinds: dict[str, int] = {}
    for value in (*graph_inputs(model), *model.graph.output, *infer_values(model).values()):
        kind = value.type.tensor_type.elem_type
        if kind in {0, STRINGS}:
            continue
        kinds[value.name] = int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
    return kinds


def _activation_bytes(
    node: Any, known: Mapping[str, Shape], constants: Mapping[str, str], kinds: Mapping[str, int]
) -> int | None:
    """Bytes that an operator reads and writes besides constants; `None` where a shape is unknown."""
    total = 0
    for name in (*dict.fromkeys(node.input), *node.output):
        if not name or name in constants:
            continue
        shape = known.get(name)
        if shape is None:
            return None
        total += math.prod(shape) * kinds.get(name, 4)
    return total


def _attribute_values(node: Any) -> int:
    """Weights in attributes: tree ensembles and linear models of `ai.onnx.ml`."""
    if node.domain != "ai.onnx.ml":
        return 0
    return sum(len(a.floats) + len(a.ints) + math.prod(a.t.dims or [0]) for a in node.attribute)


def _fix_shape(value: Any, shape: Sequence[int] | None) -> None:
    dims = value.type.tensor_type.shape.dim
    for axis, dim in enumerate(dims):
        if shape is not None and axis < len(shape):
            dim.dim_value = shape[axis]
        elif axis == 0 and dim.dim_value <= 0:
            dim.dim_value = 1


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _matmul(node: Any, a: Shape, b: Shape, out: Shape) -> int | None:
    if out is not None and a is not None:
        return math.prod(out) * a[-1]
    if a is not None and b is not None and len(b) == 2:
        return math.prod(a) * b[1]
    return None


def _gemm(node: Any, a: Shape, b: Shape, out: Shape) -> int | None:
    if b is None or (out is None and a is None):
        return None
    rows = out[0] if out is not None else (a or (1,))[_attribute(node, "transA", 0)]
    return rows * math.prod(b)


def _convolution(node: Any, a: Shape, b: Shape, out: Shape) -> int | None:
    # b is (output channels, input channels / groups, *kernel).
    if out is None or b is None:
        return None
    return math.prod(out) * math.prod(b[1:])


def _transposed(node: Any, a: Shape, b: Shape, out: Shape) -> int | None:
    # b is (input channels, output channels / groups, *kernel).
    if a is None or b is None:
        return None
    return math.prod(a) * math.prod(b[1:])


def _recurrent(node: Any, a: Shape, b: Shape, out: Shape) -> int | None:
    # a is (steps, batch, inputs); b is (directions, gates * hidden, inputs).
    if a is None or b is None or len(a) != 3:
        return None
    hidden = _attribute(node, "hidden_size", 0)
    return a[0] * a[1] * b[0] * b[1] * (b[2] + hidden)


_WEIGHT_PLACE = {"QLinearMatMul": 3, "QLinearConv": 3, "QGemm": 3}

_COUNTS: Mapping[str, Callable[[Any, Shape, Shape, Shape], int | None]] = {
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulIntegerToFloat": _matmul,
    "DynamicQuantizeMatMul": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "QGemm": _gemm,
    "Conv": _convolution,
    "FusedConv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": _convolution,
    "ConvTranspose": _transposed,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
}

_UNCOUNTED = frozenset(
    {"Einsum", "Attention", "MultiHeadAttention", "QAttention", "MatMulNBits", "Loop", "Scan"}
)
"""Operators that multiply, but whose products are not counted here."""


def _macs(node: Any, known: Mapping[str, Shape]) -> int | None:
    if node.op_type in _UNCOUNTED:
        return None
    count = _COUNTS.get(node.op_type)
    if count is None:
        return 0
    place = _WEIGHT_PLACE.get(node.op_type, 1)
    weight = known.get(node.input[place]) if len(node.input) > place else None
    return count(node, known.get(node.input[0]), weight, known.get(node.output[0]))
