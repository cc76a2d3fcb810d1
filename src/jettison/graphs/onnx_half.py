"""Converting a prepared graph to 16-bit floats with ONNX Runtime's converter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jettison.graphs.onnx_walk import nodes_of, tensors_of

HEADROOM = 4.0

CRASHING = ("Transpose",)
"""Loading some graphs with 16-bit transposes kills the process (onnxruntime 1.32, a network of
convolutions and a GRU); they only move values, so they lose nothing by staying in 32 bits."""


def convert_to_half(
    graph: Path, largest: Mapping[str, float], limit: float
) -> tuple[Any, frozenset[str]]:
    """Makes weights and activations 16-bit; inputs and outputs of the graph stay 32-bit.

    Args:
        graph: a prepared graph; read whole.
        largest: the largest magnitude seen of every float tensor of the main graph.
        limit: an operator that reads or makes a value beyond it stays in 32 bits; for
            activations a quarter of it, because other rows may go further than those watched.

    Returns:
        An `onnx.ModelProto` with its weights in memory, and the names of the operators left in
        32 bits for their values.
    """
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import (
        DEFAULT_OP_BLOCK_LIST,
        convert_float_to_float16,
    )

    model = onnx.load(graph)
    wide = {name for name, size in largest.items() if size > limit / HEADROOM}
    wide |= {tensor.name for tensor in tensors_of(model) if _beyond(tensor, limit)}
    kept = frozenset(
        node.name for node in nodes_of(model) if wide.intersection((*node.input, *node.output))
    )
    known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
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
    return ordered.model, kept


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


def _beyond(tensor: Any, limit: float) -> bool:
    import onnx

    if tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    values = onnx.numpy_helper.to_array(tensor)
    finite = np.abs(values[np.isfinite(values)])
    return bool(finite.max(initial=0.0) > limit)


def half_values(model: Any) -> int:
    """How many weights are stored as 16-bit floats; scalars don't count."""
    import onnx

    return sum(
        math.prod(tensor.dims)
        for tensor in tensors_of(model)
        if tensor.data_type == onnx.TensorProto.FLOAT16 and math.prod(tensor.dims) > 1
    )
