"""What an ONNX graph is: its inputs and outputs, its constants, and the traits found in it.

All of it is read without external data, so a graph of any size costs little memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jettison.domain.model import TensorSpec
from jettison.errors import ModelError
from jettison.graphs.onnx_costs import NodeCost, node_costs
from jettison.graphs.onnx_shapes import infer_values
from jettison.graphs.onnx_storage import read_light
from jettison.graphs.onnx_walk import (
    PASS_THROUGH,
    dtype_of,
    ensure_node_names,
    graph_inputs,
    graphs_of,
    nodes_of,
    stored_bytes,
    tensors_of,
)

__all__ = [
    "NodeCost",
    "class_labels",
    "ensure_node_names",
    "graph_inputs",
    "node_costs",
    "read_light",
    "tensor_specs",
    "traits_of",
]

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})

INT8_OPERATORS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QGemm",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QAttention",
        "DynamicQuantizeLSTM",
        "MatMulNBits",
    }
)

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})

SCORE_STEPS = frozenset(
    {"Div", "Mul", "Add", "Sub", "Where", "Cast", "Dropout", "Identity", "Reshape", "Clip"}
)
"""What may stand between the products and the softmax of attention that is not fused."""


def tensor_specs(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Reads the inputs and outputs of the graph at `path`.

    Returns:
        Inputs and outputs; an output whose shape is not stored has the one that shape inference
        finds, or only its batch dimension where that fails.

    Raises:
        ModelError: if one of them is not a tensor (a sequence or a map).
    """
    return specs_of(read_light(path), path)


def specs_of(model: Any, path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """As `tensor_specs`, of a graph already read."""
    inputs = tuple(_spec(value, path) for value in graph_inputs(model))
    inferred: Mapping[str, Any] = {}
    if any(not value.type.tensor_type.HasField("shape") for value in model.graph.output):
        inferred = infer_values(model)
    outputs = tuple(_spec(inferred.get(v.name, v), path) for v in model.graph.output)
    return inputs, outputs


def _spec(value: Any, path: Path) -> TensorSpec:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(
            f"`{value.name}` of `{path}` is {_article(kind)}, not a tensor; export the model so "
            "that every input and output is one tensor (skl2onnx: options={'zipmap': False})"
        )
    number = value.type.tensor_type.elem_type
    text = number == onnx.TensorProto.STRING
    dtype = "str" if text else str(dtype_of(number, f"`{value.name}` of `{path}`"))
    sizes: tuple[int | str, ...] = tuple(
        dim.dim_value
        if dim.HasField("dim_value") and dim.dim_value > 0
        else dim.dim_param or ("batch" if axis == 0 else f"{value.name}_{axis}")
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
    )
    if not value.type.tensor_type.HasField("shape"):
        sizes = ("batch",)
    return TensorSpec(value.name, dtype, sizes)


def _article(kind: str | None) -> str:
    word = (kind or "nothing known").removesuffix("_type").replace("_", " ")
    return f"a {word}"


def traits_of(path: Path) -> frozenset[str]:
    """Finds the traits of the graph at `path`: words of `jettison.domain.traits.TRAITS`.

    `standard-operators` means the default operator set alone: `ai.onnx.ml` (tree ensembles) is
    in the ONNX specification, but other runtimes can't load it. `float32` means that most bytes
    of the float and 8-bit constants are 32-bit floats.
    """
    return traits_in(read_light(path))


def traits_in(model: Any) -> frozenset[str]:
    """As `traits_of`, of a graph already read."""
    found = {"onnx"}
    nodes = list(nodes_of(model))
    local = {function.domain for function in model.functions}
    if all(node.domain in STANDARD_DOMAINS | local for node in nodes):
        found.add("standard-operators")
    if any(node.op_type in INT8_OPERATORS for node in nodes):
        found.add("int8")
    if any(node.op_type.startswith("TreeEnsemble") for node in nodes):
        found.add("trees")
    found |= _weight_traits(model)
    constant = constant_names(model)
    for node in nodes:
        if node.op_type in {"MatMul", "Gemm"} and constant.intersection(node.input[:2]):
            found.add("matmul")
        if node.op_type in CONVOLUTIONS and constant.intersection(node.input[1:2]):
            found.add("convolution")
    if _has_attention(model, constant):
        found.add("attention")
    shapes = [value.type.tensor_type.shape.dim for value in graph_inputs(model)]
    if any(dims and dims[0].dim_value > 0 for dims in shapes):
        found.add("fixed-batch")
    return frozenset(found)


def _weight_traits(model: Any) -> set[str]:
    import onnx

    sizes: dict[int, int] = {}
    for tensor in tensors_of(model):
        sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + stored_bytes(tensor)
    kinds = onnx.TensorProto
    full = sizes.get(kinds.FLOAT, 0)
    eight = sizes.get(kinds.INT8, 0) + sizes.get(kinds.UINT8, 0)
    half = sizes.get(kinds.FLOAT16, 0) + sizes.get(kinds.BFLOAT16, 0)
    found = set()
    # More than a few scalars: a constant like epsilon does not make weights.
    if full > 64 and full >= half + eight:
        found.add("float32")
    if half > 64:
        found.add("float16")
    return found


def constant_names(model: Any) -> frozenset[str]:
    """Names of all values that don't depend on the inputs, at any depth.

    Initializers and `Constant` nodes, and what casts, dequantizers and reshapes make of them.
    """
    given = {value.name for value in graph_inputs(model)}
    names = {t.name for graph in graphs_of(model) for t in graph.initializer} - given
    for node in nodes_of(model):
        if node.op_type == "Constant" or (
            node.op_type in PASS_THROUGH and node.input and node.input[0] in names
        ):
            names.update(node.output)
    return frozenset(names)


def _has_attention(model: Any, constant: frozenset[str]) -> bool:
    makers = {name: node for node in nodes_of(model) for name in node.output if name}
    readers: dict[str, list[Any]] = {}
    for node in nodes_of(model):
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return any(
        _reaches_product(node.input[0], makers, constant)
        and _feeds_product(node.output[0], readers, constant)
        for node in nodes_of(model)
        if node.op_type == "Softmax"
    )


def _is_product(node: Any, constant: frozenset[str]) -> bool:
    return node.op_type in {"MatMul", "FusedMatMul", "Einsum"} and not constant.intersection(
        node.input
    )


def _reaches_product(name: str, makers: Mapping[str, Any], constant: frozenset[str]) -> bool:
    pending, seen = [name], set[str]()
    while pending and len(seen) < 32:
        current = pending.pop()
        node = makers.get(current)
        if node is None or current in seen:
            continue
        seen.add(current)
        if _is_product(node, constant):
            return True
        if node.op_type in SCORE_STEPS:
            pending.extend(node.input)
    return False


def _feeds_product(name: str, readers: Mapping[str, list[Any]], constant: frozenset[str]) -> bool:
    pending, seen = [name], set[str]()
    while pending and len(seen) < 32:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for node in readers.get(current, ()):
            if _is_product(node, constant):
                return True
            if node.op_type in SCORE_STEPS | {"IsNaN"}:
                pending.extend(node.output)
    return False


def class_labels(model: Any) -> tuple[str, ...]:
    """Class names in score order, as classifiers of `ai.onnx.ml` and `ZipMap` store them."""
    for node in nodes_of(model):
        if node.domain != "ai.onnx.ml":
            continue
        for attribute in node.attribute:
            if attribute.name.startswith("classlabels_") or attribute.name == "classes":
                values = attribute.strings or attribute.ints
                if len(values):
                    return tuple(
                        v.decode(errors="backslashreplace") if isinstance(v, bytes) else str(v)
                        for v in values
                    )
    return ()
