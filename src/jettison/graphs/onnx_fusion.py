"""Fuses transformer attention in an ONNX graph, with only the weights at hand that it needs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.onnx_graph import constant_names
from jettison.graphs.onnx_storage import (
    FileSlice,
    external_blobs,
    external_slice,
    read_light,
    write_model,
)
from jettison.graphs.onnx_walk import ensure_node_names, is_external, nodes_of, stored_bytes

__all__ = ["Attention", "find_attention", "fuse", "write_fused"]

BETWEEN = frozenset({"Transpose", "Reshape", "Add", "Mul", "Div", "Cast", "Identity"})
"""What may stand between the projection of a token and the product of two tokens."""

SMALL = 65_536
"""Bytes up to which a weight is read: biases, norms and shapes, which fusion looks at."""

HEAVY = 1024
"""Bytes from which a weight that fusion made goes to the data file."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What the graph says about its attention.

    Attributes:
        hidden: width of queries, keys and values together.
        heads: number of heads that share it.
        projections: names of the weights that make queries, keys and values.
    """

    hidden: int
    heads: int
    projections: frozenset[str]


def find_attention(model: Any) -> Attention:
    """Reads width and heads from the reshapes in front of the products of attention.

    Args:
        model: an `onnx.ModelProto`; external weights need not be loaded.

    Raises:
        NothingChanged: if there is no attention, or not one width for all of it.
    """
    constant = constant_names(model)
    makers = {name: node for node in nodes_of(model) for name in node.output if name}
    sizes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    values = _small_values(model)
    widths: set[tuple[int, int]] = set()
    projections: set[str] = set()
    for node in nodes_of(model):
        if node.op_type != "MatMul" or constant.intersection(node.input):
            continue
        for start in node.input:
            weights, last = _trace(start, makers, sizes, values)
            projections |= weights
            widths |= {(sizes[w][1], last) for w in weights if last}
    good = {(hidden, size) for hidden, size in widths if hidden % size == 0}
    if len(good) != 1:
        found = f"widths and head sizes {sorted(good)}" if good else "no attention"
        raise NothingChanged(
            f"the graph shows {found} where one kind of attention is needed; export the model with "
            'attn_implementation="eager" and dynamo=False'
        )
    hidden, size = good.pop()
    return Attention(hidden, hidden // size, frozenset(projections))


def _trace(
    start: str,
    makers: Mapping[str, Any],
    sizes: Mapping[str, tuple[int, ...]],
    values: Mapping[str, list[int]],
) -> tuple[set[str], int]:
    """Goes back from an input of a product to the matrices that project the tokens.

    Returns:
        The names of the weights, and the size of a head (0 if no reshape tells it).
    """
    pending, seen = [start], set()
    weights: set[str] = set()
    last = 0
    while pending:
        name = pending.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type == "MatMul":
            weights |= {n for n in node.input if len(sizes.get(n, ())) == 2}
        elif node.op_type == "Reshape":
            shape = _shape_values(node.input[1], makers, values)
            last = shape[-1] if shape and shape[-1] > 0 else last
            pending.append(node.input[0])
        elif node.op_type in BETWEEN:
            pending.extend(node.input)
    return weights, last


def _shape_values(
    name: str, makers: Mapping[str, Any], values: Mapping[str, list[int]]
) -> list[int]:
    maker = makers.get(name)
    if name in values:
        return values[name]
    if maker is not None and maker.op_type == "Concat" and maker.input[-1] in values:
        return values[maker.input[-1]]
    return []


def _small_values(model: Any) -> dict[str, list[int]]:
    """Integer constants of few elements, by name."""
    import onnx

    tensors = {t.name: t for t in model.graph.initializer}
    for node in nodes_of(model):
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {
        name: [int(v) for v in onnx.numpy_helper.to_array(tensor).ravel()]
        for name, tensor in tensors.items()
        if tensor.data_type == onnx.TensorProto.INT64
        and not is_external(tensor)
        and stored_bytes(tensor) <= 64
    }


def fuse(path: Path) -> Any:
    """Reads a graph and fuses it; large weights that fusion does not touch stay on disk.

    The mask is kept as the caller gives it (one value a token). ONNX Runtime's default for BERT
    counts the ones of a row instead, which is wrong unless all padding is on the right.

    Returns:
        An `onnx.ModelProto`; its external weights still refer to the folder of `path`.

    Raises:
        NothingChanged: if no attention was found.
        CandidateFailed: if the fusion code of onnxruntime fails on this graph.
    """
    from onnxruntime.transformers import fusion_options, optimizer

    model = read_light(path)
    attention = find_attention(model)
    tables = _load_needed(model, path.parent, attention.projections)
    options = fusion_options.FusionOptions("bert")
    options.use_raw_attention_mask(use_raw_mask=True)
    with _quiet():
        try:
            fused = optimizer.optimize_by_fusion(
                model, "bert", attention.heads, attention.hidden, options
            )
        except Exception as error:  # asserts, KeyErrors, ...: it was written for known graphs
            raise CandidateFailed(
                f"the fusion code of onnxruntime fails on this graph: {type(error).__name__}: "
                f"{error}"
            ) from error
    for tensor in fused.model.graph.initializer:
        if tensor.name in tables:
            tensor.CopyFrom(tables[tensor.name])
    ensure_node_names(fused.model)
    return fused.model


def _load_needed(model: Any, folder: Path, projections: frozenset[str]) -> dict[str, Any]:
    """Loads the external weights whose values fusion reads; shortens tables to one row.

    The matrices of plain products stay on disk: nothing reads them. Of embedding tables fusion
    reads only the width, but through their values, and copies them for each shape inference.

    Returns:
        The tables as they were, by name, to be put back afterwards.
    """
    readers: dict[str, set[str]] = {}
    for node in nodes_of(model):
        for position, name in enumerate(node.input):
            readers.setdefault(name, set()).add(f"{node.op_type}/{position}")
    tables: dict[str, Any] = {}
    for tensor in model.graph.initializer:
        if not is_external(tensor):
            continue
        place = external_slice(tensor, folder)
        read_by = readers.get(tensor.name, set())
        if place.length > SMALL and tensor.name not in projections:
            if read_by <= {"MatMul/0", "MatMul/1"}:
                continue
            if read_by == {"Gather/0"} and len(tensor.dims) == 2:
                tables[tensor.name] = type(tensor).FromString(tensor.SerializeToString())
                place = FileSlice(place.path, place.offset, place.length // tensor.dims[0])
                tensor.dims[0] = 1
        with open(place.path, "rb") as file:
            file.seek(place.offset)
            tensor.raw_data = file.read(place.length)
        tensor.data_location = 0
        del tensor.external_data[:]
    return tables


def write_fused(model: Any, source: Path, folder: Path) -> tuple[str, ...]:
    """Writes a graph of `fuse`; weights go to the data file if the source had one.

    Args:
        model: of `fuse`; emptied of its heavy weights.
        source: the path that was fused.
        folder: gets `model.onnx`, and `model.onnx.data` for a large model.
    """
    blobs = external_blobs(model, source.parent)
    if blobs:
        blobs += [
            (t, t)
            for t in model.graph.initializer
            if not is_external(t) and stored_bytes(t) >= HEAVY
        ]
    return write_model(model, blobs, folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides what the fusion code logs about patterns that it did not find."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
