"""Takes the `ZipMap` off a scikit-learn export, so that every output is one tensor."""

from __future__ import annotations

from typing import Any


def drop_zipmaps(model: Any) -> int:
    """Replaces each output that a `ZipMap` makes by the matrix of scores that it read.

    A `ZipMap` turns the row (0.2, 0.8) into the mapping {"no": 0.2, "yes": 0.8}. The scores are
    the same; the output takes the name of the matrix.

    Args:
        model: an `onnx.ModelProto`, changed in place.

    Returns:
        How many were taken off.
    """
    import onnx

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    dropped = []
    for output in graph.output:
        node = makers.get(output.name)
        if node is None or node.op_type != "ZipMap":
            continue
        width = max(len(a.strings) or len(a.ints) for a in node.attribute)
        dropped.append(node)
        output.CopyFrom(
            onnx.helper.make_tensor_value_info(
                node.input[0], onnx.TensorProto.FLOAT, ["batch", width]
            )
        )
    for node in dropped:
        graph.node.remove(node)
    return len(dropped)
