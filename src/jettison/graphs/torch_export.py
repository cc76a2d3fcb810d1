"""From a PyTorch module to an ONNX graph whose weights never stand twice in memory.

The tracing exporter (`dynamo=False`) is used because ONNX Runtime's fusion of attention does not
recognise what the newer exporter writes (no speed gain then). It is asked for the graph without
weights; these are written straight from the module, and keep the names that they have in it.

Importing this file imports torch; plug-ins import it inside the methods that need it.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator

from jettison.domain.model import TensorSpec
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_storage import INLINE_LIMIT, Blob, FileSlice, write_model
from jettison.graphs.torch_traceable import traceable

__all__ = ["ROWS", "drop_weights", "export_graph", "trace", "write_graph"]

FOLDED = frozenset({"Unsqueeze", "Cast", "Concat"})
"""Operators that are computed now when all their inputs are small constants."""

ROWS = 64
"""Rows of an embedding table while tracing, besides those up to its padding token."""

VOCABULARY = 4096
"""Rows from which an embedding table is that of a vocabulary, not of positions or segments."""

SMALL = 1024
"""Elements up to which a constant is folded."""

TRACED = 8
"""Tokens of the example that is traced; any other number of tokens is proved by running."""


def trace(
    module: Any,
    probe: Mapping[str, Array],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    opset: int,
) -> Any:
    """Traces an opened text model or program; what is a word in the shapes is free in the graph.

    The module gives up its weights first: tracing copies them for its shape inference, and so one
    copy is all there is.

    Args:
        module: as a format for PyTorch opened it; of no use afterwards.
        probe: input name -> array, of which the first rows are traced.
        inputs: of the model, in the order of `forward`.
        outputs: of the model.
        opset: version of the ONNX operator set.

    Returns:
        An `onnx.ModelProto` without weights, for `write_graph`.

    Raises:
        CandidateFailed: if the exporter can't express the module; quotes its reason.
    """
    plain = traceable(module) if isinstance(module, torch.fx.GraphModule) else module.traceable()
    drop_weights(plain)
    example = {spec.name: _small(probe[spec.name], spec) for spec in inputs}
    return export_graph(plain, example, {s.name: s.shape for s in (*inputs, *outputs)}, opset)


def _small(array: Array, spec: TensorSpec) -> Array:
    """Two rows; of token ids a few, all below `ROWS`. Tracing keeps every intermediate result."""
    rows = array[:2]
    if array.dtype.kind not in "iu":
        return rows
    if len(spec.shape) == 2 and isinstance(spec.shape[1], str):
        rows = rows[:, :TRACED]
    return np.minimum(rows, ROWS - 1)


def drop_weights(module: Any) -> None:
    """Replaces each parameter by one number that is repeated, so that it takes no memory.

    The numbers differ, because the exporter merges parameters that are equal. Its shape inference
    spells the repeated numbers out; so the tables of a vocabulary, the largest of all, get few
    rows. The module can then be traced with token ids below `ROWS`, and is of no other use.
    """
    tables = [part for part in module.modules() if isinstance(part, torch.nn.Embedding)]
    rows = {id(part.weight): ROWS + (part.padding_idx or 0) for part in tables}
    for number, parameter in enumerate(module.parameters()):
        shape = list(parameter.shape)
        # Tables of positions are small, and some models (DeBERTa) index them by themselves.
        if id(parameter) in rows and shape[0] >= VOCABULARY:
            shape[0] = rows[id(parameter)]
        filler = torch.full((1,) * parameter.dim(), float(number + 1), dtype=parameter.dtype)
        parameter.data = filler.expand(shape)


def export_graph(
    module: Any,
    example: Mapping[str, Array],
    specs: Mapping[str, Sequence[int | str]],
    opset: int,
) -> Any:
    """Traces a module into an `onnx.ModelProto` without weights.

    Args:
        module: in eval mode; called with the arrays of `example` in order.
        example: input name -> array.
        specs: name of each input, then of each output -> its shape; what is a word there becomes
            a free dimension of that name.
        opset: version of the ONNX operator set.

    Returns:
        The graph; parameters and buffers are inputs that bear their names in the module.

    Raises:
        CandidateFailed: if the exporter can't express the module; quotes its reason.
    """
    free = {
        name: {place: size for place, size in enumerate(shape) if isinstance(size, str)}
        for name, shape in specs.items()
    }
    buffer = io.BytesIO()
    # Its warnings are about tracing in general. What they warn of is checked by running the
    # graph at other batch sizes and lengths.
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                module,
                tuple(torch.from_numpy(array.copy()) for array in example.values()),
                buffer,
                input_names=list(example),
                output_names=[name for name in specs if name not in example],
                dynamic_axes=free,
                opset_version=opset,
                export_params=False,
                do_constant_folding=False,
                dynamo=False,
            )
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            raise CandidateFailed(
                f"PyTorch {torch.__version__} can't export this model to ONNX opset {opset}: "
                f"{str(error).strip().splitlines()[0]}"
            ) from error
    return onnx.load_from_string(buffer.getvalue())


def write_graph(proto: Any, module: Any, folder: Path) -> tuple[str, ...]:
    """Gives the graph its weights and writes it; weights of large models go beside it.

    Args:
        proto: of `export_graph`; changed in place.
        module: where the weights are.
        folder: gets `model.onnx`, and `model.onnx.data` for a large model.

    Returns:
        The names of the files, the graph first.
    """
    weights = _take_weights(proto, _named_tensors(module))
    _fold_constants(proto)
    total = sum(tensor.numel() * tensor.element_size() for _, tensor in weights)
    if total <= INLINE_LIMIT:
        for target, tensor in weights:
            target.raw_data = _bytes(tensor)
        return write_model(proto, [], folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".weights", delete=True) as file:
        blobs = list(_spool(weights, file))
        file.flush()
        return write_model(proto, blobs, folder)


def _named_tensors(module: Any) -> dict[str, Any]:
    named = dict(module.named_buffers(remove_duplicate=False))
    named.update(module.named_parameters(remove_duplicate=False))
    return {name: tensor.detach() for name, tensor in named.items()}


def _take_weights(proto: Any, named: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Turns graph inputs that are weights into initializers, transposed where all readers want."""
    graph = proto.graph
    transposed = _only_transposed(graph, named)
    drop = {node.output[0]: node.input[0] for nodes in transposed.values() for node in nodes}
    kept = [node for node in graph.node if not (node.output and node.output[0] in drop)]
    for node in kept:
        for place, name in enumerate(node.input):
            if name in drop:
                node.input[place] = drop[name]
    _replace(graph.node, kept)
    weights = []
    for value in [value for value in graph.input if value.name in named]:
        tensor = named[value.name]
        tensor = tensor.t() if value.name in transposed else tensor
        target = graph.initializer.add(
            name=value.name, data_type=value.type.tensor_type.elem_type, dims=tuple(tensor.shape)
        )
        weights.append((target, tensor))
    _replace(graph.input, [value for value in graph.input if value.name not in named])
    return weights


def _only_transposed(graph: Any, named: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Matrices whose every reader is a plain transposition, with these readers."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            if name in named:
                readers.setdefault(name, []).append(node)
    return {
        name: nodes
        for name, nodes in readers.items()
        if named[name].dim() == 2
        and all(
            node.op_type == "Transpose" and [list(a.ints) for a in node.attribute] == [[1, 0]]
            for node in nodes
        )
    }


def _fold_constants(proto: Any) -> None:
    """Computes shape arithmetic on constants, which fusion patterns expect as one `Constant`."""
    graph = proto.graph
    known: dict[str, Array] = {}
    kept = []
    for node in graph.node:
        value = _small_constant(node)
        if value is None and node.op_type in FOLDED and all(name in known for name in node.input):
            inputs = {name: known[name] for name in node.input}
            value = np.asarray(ReferenceEvaluator(_alone(proto, node, inputs)).run(None, inputs)[0])
            tensor = onnx.numpy_helper.from_array(value)
            node = onnx.helper.make_node("Constant", [], node.output, name=node.name, value=tensor)
        if value is not None:
            known[node.output[0]] = value
        kept.append(node)
    _replace(graph.node, _without_unread_constants(kept, {value.name for value in graph.output}))


def _small_constant(node: Any) -> Array | None:
    if node.op_type != "Constant" or node.attribute[0].name != "value":
        return None
    tensor = node.attribute[0].t
    if int(np.prod(tensor.dims, dtype=np.int64)) > SMALL:
        return None
    return np.asarray(onnx.numpy_helper.to_array(tensor))


def _alone(proto: Any, node: Any, inputs: Mapping[str, Array]) -> Any:
    given = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in inputs.items()
    ]
    out = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UNDEFINED, None)
    graph = onnx.helper.make_graph([node], "constant", given, [out])
    return onnx.helper.make_model(graph, opset_imports=proto.opset_import)


def _without_unread_constants(nodes: list[Any], outputs: set[str]) -> list[Any]:
    read = {name for node in nodes for name in node.input} | outputs
    return [n for n in nodes if n.op_type != "Constant" or read.intersection(n.output)]


def _replace(repeated: Any, items: list[Any]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del repeated[:]
    repeated.extend(copies)


def _bytes(tensor: Any) -> bytes:
    return bytes(tensor.contiguous().numpy().tobytes())


def _spool(weights: list[tuple[Any, Any]], file: Any) -> Iterator[tuple[Any, Blob]]:
    """Writes one weight after the other, so that only one copy of one weight is held."""
    for target, tensor in weights:
        array = tensor.contiguous().numpy()
        yield target, FileSlice(file.name, file.tell(), array.nbytes)
        file.write(memoryview(array).cast("B"))
