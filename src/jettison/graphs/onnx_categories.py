"""The categories that a graph knows for each of its text inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jettison.graphs.onnx_walk import graph_inputs

SAME_TEXT = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "StringNormalizer"})
LARGEST_VOCABULARY = 1000


@dataclass(frozen=True, slots=True)
class Categories:
    """What one text column may hold.

    Attributes:
        known: the values that the graph has a place for, sorted as stored.
        strict: whether another value is an error when the graph runs.
    """

    known: tuple[str, ...]
    strict: bool


def categories_of(model: Any) -> dict[str, Categories]:
    """Follows every text input to the encoder that reads it.

    Returns:
        Input name -> its categories. Inputs that lead elsewhere, or to an encoder through an
        operator that mixes columns, are left out.
    """
    import onnx

    text = {
        value.name
        for value in graph_inputs(model)
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING
    }
    origin: dict[str, tuple[str, ...]] = {name: (name,) for name in text}
    indices = {
        t.name: onnx.numpy_helper.to_array(t).reshape(-1)
        for t in model.graph.initializer
        if t.data_type == onnx.TensorProto.INT64 and t.data_location == 0
    }
    found: dict[str, Categories] = {}
    for node in model.graph.node:
        columns = _columns(node, origin, indices)
        if columns is None:
            continue
        origin |= dict.fromkeys(node.output, columns)
        categories = _stored(node)
        if categories is not None and len(columns) == 1:
            found[columns[0]] = categories
    return found


def _columns(
    node: Any, origin: Mapping[str, tuple[str, ...]], indices: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """The text inputs that stand side by side in what a node passes on."""
    if not node.input or node.input[0] not in origin:
        return None
    if node.op_type == "Concat" and all(name in origin for name in node.input):
        return tuple(column for name in node.input for column in origin[name])
    first = origin[node.input[0]]
    if node.op_type == "ArrayFeatureExtractor" and node.input[1] in indices:
        places = [int(i) for i in indices[node.input[1]]]
        return tuple(first[i] for i in places) if max(places) < len(first) else None
    return first if node.op_type in SAME_TEXT | {"OneHotEncoder", "LabelEncoder"} else None


def _stored(node: Any) -> Categories | None:
    attributes = {a.name: a for a in node.attribute}
    if node.op_type == "OneHotEncoder" and "cats_strings" in attributes:
        strict = "zeros" in attributes and attributes["zeros"].i == 0
        values = attributes["cats_strings"].strings
    elif node.op_type == "LabelEncoder" and "keys_strings" in attributes:
        strict, values = False, attributes["keys_strings"].strings
    else:
        return None
    if len(values) > LARGEST_VOCABULARY:
        return None
    return Categories(tuple(value.decode() for value in values), strict)
