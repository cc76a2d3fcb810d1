"""Writes group thresholds behind the probabilities of an ONNX graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jettison.errors import CandidateFailed

__all__ = ["with_thresholds"]

_TYPES = {1: np.float32, 11: np.float64}
PREFIX = "jettison_threshold_"


def with_thresholds(graph: Any, output: str, group: str, thresholds: Mapping[str, float]) -> Any:
    """A copy of a graph whose probabilities are moved so that 0.5 is each group's threshold.

    A table holds the threshold of each group; a value that was not among the fitting rows keeps
    0.5. The formula is that of `numerics.group_thresholds.moved`.

    Args:
        graph: `onnx.ModelProto`, not changed.
        output: of shape (n, 2), probabilities of two classes.
        group: the input of shape (n, 1) that holds the group.
        thresholds: group -> threshold, above 0 and below 1.

    Raises:
        CandidateFailed: if the graph does not have that input or output in a form that is known,
            or has other outputs.
    """
    import onnx
    from onnx import helper

    made = onnx.ModelProto()
    made.CopyFrom(graph)
    read = next((i for i in made.graph.input if i.name == group), None)
    given = next((o for o in made.graph.output if o.name == output), None)
    if read is None or given is None:
        raise CandidateFailed(f"the graph has no input `{group}` or no output `{output}`")
    others = [o.name for o in made.graph.output if o.name != output]
    if others:
        raise CandidateFailed(
            f"the graph also answers with {', '.join(f'`{name}`' for name in others)}, which would "
            f"keep the old decision; export the model with `{output}` as its only output"
        )
    number = _TYPES.get(given.type.tensor_type.elem_type)
    if number is None:
        raise CandidateFailed(f"output `{output}` holds no 32-bit or 64-bit floats")
    before = PREFIX + output
    for node in made.graph.node:
        node.output[:] = [before if name == output else name for name in node.output]
        node.input[:] = [before if name == output else name for name in node.input]

    made.graph.initializer.extend(_constants(thresholds, number))
    kind = given.type.tensor_type.elem_type
    made.graph.node.extend([*_lookup(read, group, thresholds), *_formula(before, output, kind)])
    if not any(entry.domain == "ai.onnx.ml" for entry in made.opset_import):
        made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return made


def _constants(thresholds: Mapping[str, float], number: Any) -> list[Any]:
    from onnx import numpy_helper

    values = {
        "half": np.array(0.5, dtype=number),
        "one": np.array(1.0, dtype=number),
        "second": np.array([1], dtype=np.int64),
        "shape": np.array([-1, len(thresholds)], dtype=np.int64),
        "table": np.array([[value - 0.5] for value in thresholds.values()], dtype=np.float32),
    }
    return [numpy_helper.from_array(value, PREFIX + what) for what, value in values.items()]


def _formula(before: str, output: str, kind: int) -> list[Any]:
    """Nodes of `moved`: from the scores before and each row's threshold to the output."""
    from onnx import helper

    def node(operator: str, inputs: str, target: str, **settings: int) -> Any:
        names = [PREFIX + part for part in inputs.split()]
        return helper.make_node(operator, names, [PREFIX + target], **settings)

    return [
        node("Cast", "found", "moved", to=kind),
        node("Add", "moved half", "at"),
        helper.make_node("Gather", [before, f"{PREFIX}second"], [f"{PREFIX}score"], axis=1),
        node("Greater", "score at", "above"),
        node("Div", "score at", "share"),
        node("Mul", "share half", "lower"),
        node("Sub", "score at", "beyond"),
        node("Sub", "one at", "left"),
        node("Div", "beyond left", "part"),
        node("Mul", "part half", "rest"),
        node("Add", "rest half", "upper"),
        node("Where", "above upper lower", "made"),
        node("Sub", "one made", "other"),
        helper.make_node("Concat", [f"{PREFIX}other", f"{PREFIX}made"], [output], axis=1),
    ]


def _lookup(read: Any, group: str, thresholds: Mapping[str, float]) -> list[Any]:
    """Nodes that give each row the threshold of its group less one half, shape (n, 1), 32-bit.

    `OneHotEncoder` is the same in every version of its operator set, where `LabelEncoder` is not.
    """
    import onnx
    from onnx import helper

    kind = read.type.tensor_type.elem_type
    whole = (onnx.TensorProto.INT64, onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    keys: dict[str, Any]
    if kind == onnx.TensorProto.STRING:
        keys = {"cats_strings": list(thresholds)}
    elif kind in whole and all(re.fullmatch(r"-?\d+", key) for key in thresholds):
        keys = {"cats_int64s": [int(key) for key in thresholds]}
    else:
        raise CandidateFailed(
            f"input `{group}` holds neither text nor whole numbers, so a threshold can't be looked "
            "up by it"
        )
    hot, flat = f"{PREFIX}hot", f"{PREFIX}flat"
    return [
        helper.make_node("OneHotEncoder", [group], [hot], domain="ai.onnx.ml", zeros=1, **keys),
        helper.make_node("Reshape", [hot, f"{PREFIX}shape"], [flat]),
        helper.make_node("MatMul", [flat, f"{PREFIX}table"], [f"{PREFIX}found"]),
    ]
