"""Converting a prepared graph to 16-bit floats with ONNX Runtime's converter.

Weights that lie beside the graph are not read for it: the converter sees a single zero in place of
each, and says by its type whether the weight becomes 16-bit. Their values go from file to file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.graphs.onnx_storage import (
    Blob,
    ChangedSlice,
    FileSlice,
    blocks_of,
    external_blobs,
    external_slice,
    read_light,
    write_model,
)
from jettison.graphs.onnx_walk import is_external, nodes_of, tensors_of

HEADROOM = 4.0

CRASHING = ("Transpose",)
"""Loading some graphs with 16-bit transposes kills the process (onnxruntime 1.32, a network of
convolutions and a GRU); they only move values, so they lose nothing by staying in 32 bits."""


STOOD_FOR = "stands for"
"""Marks a tensor of one zero that stands for a weight beside the graph."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A weight that was left beside the graph."""

    place: FileSlice
    dims: tuple[int, ...]


def convert_to_half(
    graph: Path, largest: Mapping[str, float], limit: float, folder: Path
) -> frozenset[str]:
    """Makes weights and activations 16-bit; inputs and outputs of the graph stay 32-bit.

    Args:
        graph: a prepared graph.
        largest: the largest magnitude seen of every float tensor of the main graph.
        limit: an operator that reads or makes a value beyond it stays in 32 bits; for
            activations a quarter of it, because other rows may go further than those watched.
        folder: where `model.onnx` is written, with its external data if `graph` has some.

    Returns:
        The names of the operators left in 32 bits for their values.
    """
    model = read_light(graph)
    beside = graph.resolve().parent
    wide = {name for name, size in largest.items() if size > limit / HEADROOM}
    wide |= {tensor.name for tensor in tensors_of(model) if _beyond(tensor, beside, limit)}
    wide.discard("")  # An input that is left out has no name either.
    kept = frozenset(
        node.name for node in nodes_of(model) if wide.intersection((*node.input, *node.output))
    )
    absent = _stand_in(model, beside)
    converted = _converted(model, largest, kept)
    write_model(converted, _put_back(converted, absent, beside), folder)
    return kept


def _converted(model: Any, largest: Mapping[str, float], kept: frozenset[str]) -> Any:
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import (
        DEFAULT_OP_BLOCK_LIST,
        convert_float_to_float16,
    )

    graph = model.graph
    known = {value.name for value in (*graph.input, *graph.value_info, *graph.output)}
    for name in sorted(set(largest) - known):
        # The converter casts only tensors whose type it knows; the runtime told it.
        model.graph.value_info.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    converted = convert_float_to_float16(
        model,
        keep_io_types=True,
        disable_shape_infer=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *CRASHING],
        node_block_list=sorted(kept),
    )
    _join_casts(converted)
    ordered = ONNXModel(converted)
    ordered.topological_sort()
    del ordered.model.graph.value_info[:]
    return ordered.model


def _stand_in(model: Any, beside: Path) -> list[Absent]:
    """Puts a single zero in place of each 32-bit weight that lies beside the graph."""
    import onnx

    absent: list[Absent] = []
    for tensor in tensors_of(model):
        if not is_external(tensor) or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        weight = Absent(external_slice(tensor, beside), tuple(tensor.dims))
        tensor.ClearField("data_location")
        del tensor.external_data[:], tensor.dims[:]
        tensor.raw_data = bytes(4)
        entry = tensor.external_data.add()
        entry.key, entry.value = STOOD_FOR, str(len(absent))
        absent.append(weight)
    return absent


def _put_back(model: Any, absent: list[Absent], beside: Path) -> list[tuple[Any, Blob]]:
    """Gives the bytes that belong in each tensor that has none, 16-bit where it became so."""
    import onnx

    blobs = external_blobs(model, beside)
    for tensor in tensors_of(model):
        marks = [entry.value for entry in tensor.external_data if entry.key == STOOD_FOR]
        if not marks:
            continue
        weight = absent[int(marks[0])]
        tensor.dims.extend(weight.dims)
        half = tensor.data_type == onnx.TensorProto.FLOAT16
        blobs.append((tensor, ChangedSlice(weight.place, to_half) if half else weight.place))
    return blobs


def to_half(block: bytes) -> bytes:
    """Rounds 32-bit floats to 16 bits as the converter does: what is not 0 does not become 0."""
    from onnxruntime.transformers.float16 import convert_np_to_float16

    halves: bytes = convert_np_to_float16(np.frombuffer(block, dtype="<f4")).tobytes()
    return halves


def _join_casts(model: Any) -> None:
    """Takes the way through 16 bits out from between two operators that stay in 32.

    The converter casts the result of each such operator to 16 bits, and back for the next one,
    where a value beyond the limit has become infinite.
    """
    import onnx

    kinds = onnx.TensorProto
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    for node in casts.values():
        before = casts.get(node.input[0])
        if before is not None and (_kind(node), _kind(before)) == (kinds.FLOAT, kinds.FLOAT16):
            # Where this leaves a cast from 32 bits to 32 bits, the runtime drops it.
            node.input[0] = before.input[0]
    outputs = {value.name for value in model.graph.output}
    while True:
        read = {name for node in nodes_of(model) for name in node.input} | outputs
        unread = [n for n in model.graph.node if n.op_type == "Cast" and n.output[0] not in read]
        if not unread:
            return
        for node in unread:
            model.graph.node.remove(node)


def _kind(cast: Any) -> int:
    return int(next(attribute.i for attribute in cast.attribute if attribute.name == "to"))


def _beyond(tensor: Any, beside: Path, limit: float) -> bool:
    """Whether a 32-bit tensor holds a finite value beyond the limit."""
    import onnx

    if tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    blob = external_slice(tensor, beside) if is_external(tensor) else tensor
    for block in blocks_of(blob):
        values = np.frombuffer(block, dtype="<f4")
        if bool((np.isfinite(values) & (np.abs(values) > limit)).any()):
            return True
    return False


def half_values(model: Any) -> int:
    """How many weights are stored as 16-bit floats; scalars don't count."""
    import onnx

    return sum(
        math.prod(tensor.dims)
        for tensor in tensors_of(model)
        if tensor.data_type == onnx.TensorProto.FLOAT16 and math.prod(tensor.dims) > 1
    )
