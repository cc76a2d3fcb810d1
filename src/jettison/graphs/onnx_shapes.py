"""Shapes of the values inside a graph, with the arithmetic on shapes carried out.

Exported transformers compute shapes at run time (`Shape`, `Gather`, `Slice`, ...). The inference
that comes with ONNX stops at most of them; once the input shapes are known they are constants, so
they are folded, and inference goes on from there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jettison.domain.rows import Array
from jettison.graphs.onnx_storage import split_weights
from jettison.graphs.onnx_walk import graphs_of, is_external, stored_bytes, subgraphs_of

Shape = tuple[int, ...] | None

LARGEST_FOLDED = 4096
"""Values of a constant that is still carried through (position numbers, masks of one row)."""

ROUNDS = 12


def shape_of(value: Any) -> Shape:
    """The shape of an `onnx.ValueInfoProto`, or `None` where a dimension is unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    return None if any(size < 0 for size in sizes) else tuple(sizes)


def infer_values(model: Any) -> dict[str, Any]:
    """Shape inference: value name -> `onnx.ValueInfoProto`; what can't be inferred is absent.

    Works on a copy without weights, so it costs little memory.
    """
    return _inferred(_skeleton(model))[0]


def known_shapes(model: Any) -> dict[str, Shape]:
    """Value name -> shape, as far as it follows from the input shapes of the graph.

    Args:
        model: an `onnx.ModelProto` with fixed input dimensions; not changed.
    """
    light = _skeleton(model)
    folded: dict[str, Array] = {}
    values: dict[str, Any] = {}
    for _ in range(ROUNDS):
        # Dimensions that an earlier round could not tell would stand in the way of this one.
        for graph in graphs_of(light):
            told = [v for v in graph.value_info if shape_of(v) is not None]
            del graph.value_info[:]
            graph.value_info.extend(told)
        values, light = _inferred(light)
        shapes = {name: shape_of(value) for name, value in values.items()}
        new = _fold(light, shapes)
        folded |= new
        if not new:
            break
    known = {name: shape_of(value) for name, value in values.items()}
    return known | {name: value.shape for name, value in folded.items()}


def _skeleton(model: Any) -> Any:
    light, heavy = split_weights(model)
    for tensor, _ in heavy:
        if not is_external(tensor):
            # A reference to data that is never read: inference needs dimensions only.
            tensor.data_location = 1
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", "unread"
    return light


def _inferred(light: Any) -> tuple[dict[str, Any], Any]:
    import onnx

    try:
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except onnx.shape_inference.InferenceError:
        # Operators of a runtime have no inference; what the file itself says remains.
        return {v.name: v for v in (*light.graph.input, *light.graph.output)}, light
    found: dict[str, Any] = {}
    for graph in graphs_of(light):
        found |= {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
    return found, light


def _fold(light: Any, shapes: dict[str, Shape]) -> dict[str, Array]:
    """Replaces nodes of the main graph whose small result is known by that result."""
    import onnx

    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in light.graph.initializer
        if not is_external(tensor) and stored_bytes(tensor) <= 8 * LARGEST_FOLDED
    }
    folded: dict[str, Array] = {}
    for node in list(light.graph.node):
        values = _result(node, constants | folded, shapes, light.opset_import)
        if values is None:
            continue
        folded |= values
        light.graph.node.remove(node)
    for name, value in folded.items():
        light.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return folded


def _result(
    node: Any, constants: dict[str, Array], shapes: dict[str, Shape], opsets: Any
) -> dict[str, Array] | None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.domain not in ("", "ai.onnx") or any(True for _ in subgraphs_of(node)):
        return None
    if node.op_type in {"Shape", "Size"}:
        shape = shapes.get(node.input[0])
        if shape is None:
            return None
        given = {node.input[0]: np.broadcast_to(np.float32(0), shape)}
    elif all(name in constants for name in node.input if name):
        given = {name: constants[name] for name in node.input if name}
    else:
        return None
    if node.op_type.startswith("Random"):
        return None
    value = onnx.helper.make_empty_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "one", [value(n) for n in given], [value(n) for n in node.output if n]
    )
    single = onnx.helper.make_model(graph, opset_imports=opsets)
    try:
        results = ReferenceEvaluator(single).run(None, given)
    except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
        return None
    named = dict(zip([n for n in node.output if n], results, strict=True))
    small = all(
        isinstance(v, np.ndarray | np.generic) and v.size <= LARGEST_FOLDED for v in results
    )
    return {name: np.asarray(v) for name, v in named.items()} if small else None
