"""Walking an ONNX graph: nodes, branches, tensors and inputs, at any depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jettison.errors import ModelError

PASS_THROUGH = frozenset(
    {"Identity", "Cast", "DequantizeLinear", "QuantizeLinear", "Transpose", "Reshape", "Squeeze"}
    | {"Unsqueeze"}
)
"""Operators whose output is constant when their first input is."""


def nodes_of(model: Any) -> Iterator[Any]:
    """Every node of a model: main graph, branches and loop bodies, local functions."""
    yield from _walk(model.graph.node)
    for function in model.functions:
        yield from _walk(function.node)


def _walk(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield node
        for graph in subgraphs_of(node):
            yield from _walk(graph.node)


def subgraphs_of(node: Any) -> Iterator[Any]:
    """The graphs inside a node: branches of `If`, bodies of `Loop` and `Scan`."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs_of(model: Any) -> Iterator[Any]:
    """The main graph and every graph inside a node."""
    yield model.graph
    for node in nodes_of(model):
        yield from subgraphs_of(node)


def tensors_of(model: Any) -> Iterator[Any]:
    """Every stored tensor: initializers and tensors in attributes, at any depth."""
    for graph in graphs_of(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def is_external(tensor: Any) -> bool:
    """Whether the bytes of a tensor lie in another file."""
    return bool(tensor.data_location == 1)


def stored_bytes(tensor: Any) -> int:
    """Bytes of a tensor's values, from its type and dimensions alone."""
    import onnx

    count = 1
    for size in tensor.dims:
        count *= size
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    half = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
    if tensor.data_type in half:
        return (count + 1) // 2
    if tensor.data_type == onnx.TensorProto.UNDEFINED:
        return 0
    return count * int(dtype_of(tensor.data_type, f"the weight `{tensor.name}`").itemsize)


def dtype_of(kind: int, what: str) -> Any:
    """The NumPy dtype of an element type.

    Raises:
        ModelError: if there is no such type.
    """
    import onnx

    try:
        return onnx.helper.tensor_dtype_to_np_dtype(kind)
    except KeyError:
        raise ModelError(
            f"{what} has elements of type {kind}, which onnx {onnx.__version__} does not know: the "
            "file is damaged or newer than that package; copy it again, or install a newer one"
        ) from None


def ensure_node_names(model: Any) -> int:
    """Gives every node without a name, or with one used before, a name that is its own.

    Names depend only on the graph: `<operator>_<place>`. Profiles, exclusion lists and layer
    costs speak of nodes by name.

    Args:
        model: an `onnx.ModelProto`, changed in place.

    Returns:
        How many names were given.
    """
    taken = {node.name for node in nodes_of(model) if node.name}
    seen: set[str] = set()
    given = 0
    for place, node in enumerate(nodes_of(model)):
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        name = f"{node.op_type}_{place}"
        while name in taken or name in seen:
            name += "_"
        node.name = name
        seen.add(name)
        given += 1
    return given


def tensor_names(model: Any) -> set[str]:
    """Every tensor that a model names, in subgraphs too."""
    found = {tensor.name for tensor in tensors_of(model)}
    for graph in graphs_of(model):
        found.update(value.name for value in (*graph.input, *graph.output))
    for node in nodes_of(model):
        found.update((*node.input, *node.output))
    return found - {""}


def free_name(wanted: str, taken: set[str]) -> str:
    """A name that nothing has yet, which is then taken."""
    while wanted in taken:
        wanted += "_"
    taken.add(wanted)
    return wanted


def rename_tensors(model: Any, names: Mapping[str, str]) -> None:
    """Gives tensors other names wherever they stand; what has no new name keeps its own.

    Args:
        model: an `onnx.ModelProto`, changed in place.
        names: name -> new name; none of an input or output of the model.
    """
    # Names inside a local function are its own.
    nodes = list(_walk(model.graph.node))
    for graph in (model.graph, *(inner for node in nodes for inner in subgraphs_of(node))):
        values = (*graph.initializer, *graph.input, *graph.output, *graph.value_info)
        for value in values:
            value.name = names.get(value.name, value.name)
        for sparse in graph.sparse_initializer:
            sparse.values.name = names.get(sparse.values.name, sparse.values.name)
    for node in nodes:
        for tensors in (node.input, node.output):
            for place, name in enumerate(tensors):
                if name in names:
                    tensors[place] = names[name]


def name_opsets_once(model: Any) -> None:
    """Drops repeated lines about one set of operators; `onnx.compose` writes them.

    onnxruntime runs such a graph, and its quantizer refuses it. Lines that differ in their version
    are left for the checks to refuse.

    Args:
        model: an `onnx.ModelProto`, changed in place.
    """
    named = list(dict.fromkeys((one.domain, one.version) for one in model.opset_import))
    del model.opset_import[:]
    for domain, version in named:
        model.opset_import.add(domain=domain, version=version)


def graph_inputs(model: Any) -> list[Any]:
    """The inputs that a caller must give: old graphs list their initializers as inputs too."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored]
