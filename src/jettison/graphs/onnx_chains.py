"""Which layers hand their channels on to which, with nothing between that mixes or bends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCALABLE = frozenset(
    {
        "AveragePool",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LeakyRelu",
        "MaxPool",
        "Relu",
    }
)
"""f(s x) = s f(x) for each channel and s > 0. Clip (ReLU6) is not: its bound stays where it is."""

PICTURE = ({2, 3}, {-2, -1})
"""The axes of an image beside batch and channels; a mean over them is scalable as well."""

RESHAPING = frozenset({"Flatten", "ReduceMean", "Reshape"})
"""What leaves a picture as one row of numbers, channel by channel."""

LONGEST = 6


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers; output channel i of the first is read by the second only, as its channel i.

    Attributes:
        first, second: nodes of type Conv, Gemm or MatMul with constant weights.
        positions: values of the second's input for each channel of the first: 1, or the size of
            the picture where it was flattened between.
    """

    first: Any
    second: Any
    positions: int


def pairs_of(model: Any) -> tuple[Pair, ...]:
    """Finds all such pairs of the main graph, in its order.

    Args:
        model: a prepared graph.
    """
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in set(node.input))
    uses.update(value.name for value in model.graph.output)
    readers = {name: node for node in model.graph.node for name in node.input}
    pairs = {t.name: _two_numbers(t) for t in model.graph.initializer if tuple(t.dims) == (2,)}
    found = []
    for node in model.graph.node:
        channels = out_channels(node, sizes, uses)
        if not channels:
            continue
        second, reshaped = _next_layer(node.output[0], uses, readers, pairs)
        if second is None:
            continue
        inputs = in_channels(second, sizes, uses)
        if inputs and _in_line(
            node, second, inputs == channels, reshaped and inputs % channels == 0
        ):
            found.append(Pair(node, second, inputs // channels))
    return tuple(found)


def _in_line(first: Any, second: Any, as_many: bool, flattened: bool) -> bool:
    """Whether the second layer reads the channels of the first as its own, in their order.

    A convolution has channels on the second axis, a product on the last one.
    """
    if (first.op_type == "Conv") == (second.op_type == "Conv"):
        return as_many
    return first.op_type == "Conv" and flattened


def _next_layer(
    value: str, uses: Mapping[str, int], readers: Mapping[str, Any], two: Mapping[str, set[int]]
) -> tuple[Any | None, bool]:
    """The first layer behind a value, and whether it was flattened between.

    Args:
        value: that a layer gives.
        uses: how often a value is read.
        readers: value -> a node that reads it.
        two: constants of two whole numbers: the shape of a matrix, the axes of a picture.
    """
    reshaped = False
    for _ in range(LONGEST):
        node = readers.get(value)
        if uses[value] != 1 or node is None or not node.input or node.input[0] != value:
            return None, reshaped
        if node.op_type in {"Conv", "Gemm", "MatMul"}:
            return node, reshaped
        if not _is_scalable(node, two):
            return None, reshaped
        reshaped |= node.op_type in RESHAPING
        value = node.output[0]
    return None, reshaped


def _is_scalable(node: Any, two: Mapping[str, set[int]]) -> bool:
    if node.op_type == "ReduceMean":
        axes = {int(i) for a in node.attribute if a.name == "axes" for i in a.ints}
        axes |= two.get(node.input[1], set()) if len(node.input) > 1 else set()
        return axes in PICTURE
    if node.op_type == "Reshape":
        return node.input[1] in two
    return node.op_type in SCALABLE


def _two_numbers(tensor: Any) -> set[int]:
    import onnx

    if tensor.data_type != onnx.TensorProto.INT64:
        return set()
    return {int(value) for value in onnx.numpy_helper.to_array(tensor)}


def attribute(node: Any, name: str, default: int) -> int:
    """A whole-number attribute of a node."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def out_channels(node: Any, sizes: Mapping[str, tuple[int, ...]], uses: Mapping[str, int]) -> int:
    """Number of output channels of a layer whose weights and bias may be changed; 0 for others."""
    shape = _weights(node, sizes, uses)
    if shape is None:
        return 0
    count = shape[out_axis(node)]
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else ""
    if bias and (bias not in sizes or uses[bias] != 1 or _count(sizes[bias]) != count):
        return 0
    return count


def in_channels(node: Any, sizes: Mapping[str, tuple[int, ...]], uses: Mapping[str, int]) -> int:
    """Number of input channels of a layer, each with weights of its own; 0 where they are grouped."""
    shape = _weights(node, sizes, uses)
    if shape is None:
        return 0
    if node.op_type == "Conv":
        groups = attribute(node, "group", 1)
        if groups == 1:
            return shape[1]
        return shape[0] if shape[1] == 1 and shape[0] == groups else 0
    return shape[1 - out_axis(node)]


def out_axis(node: Any) -> int:
    """The axis of the weights that holds output channels."""
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return 0
    return 1


def in_axis(node: Any) -> int:
    """The axis of the weights that holds input channels; 0 for a depthwise convolution."""
    if node.op_type == "Conv":
        return 0 if attribute(node, "group", 1) > 1 else 1
    return 1 - out_axis(node)


def _weights(
    node: Any, sizes: Mapping[str, tuple[int, ...]], uses: Mapping[str, int]
) -> tuple[int, ...] | None:
    if node.op_type not in {"Conv", "Gemm", "MatMul"} or len(node.input) < 2:
        return None
    shape = sizes.get(node.input[1])
    if shape is None or uses[node.input[1]] != 1 or len(shape) < 2:
        return None
    if node.op_type != "Conv" and (len(shape) != 2 or attribute(node, "transA", 0)):
        return None
    return shape


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
