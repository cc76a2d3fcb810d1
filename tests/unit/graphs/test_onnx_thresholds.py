"""Thresholds by group as nodes of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jettison.errors import CandidateFailed
from jettison.graphs.onnx_thresholds import with_thresholds
from jettison.numerics.group_thresholds import moved

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
SCORES = np.linspace(0.0, 1.0, 21)


def graph(kind: int, number: int, opset: int = 17) -> Any:
    """Hands probabilities on; `group` is read by nobody."""
    from onnx import helper

    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["given"], ["probabilities"])],
            "g",
            [
                helper.make_tensor_value_info("given", number, ["n", 2]),
                helper.make_tensor_value_info("group", kind, ["n", 1]),
            ],
            [helper.make_tensor_value_info("probabilities", number, ["n", 2])],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


@pytest.mark.parametrize("number", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(
    ("kind", "groups"),
    [("STRING", ["f", "m", "other"]), ("INT64", ["0", "1", "7"]), ("FLOAT", ["0", "1", "7"])],
)
def test_the_graph_computes_the_formula(number: str, kind: str, groups: list[str]) -> None:
    """Each group's score is moved by its own threshold; an unknown group keeps its score."""
    types = {"STRING": object, "INT64": np.int64, "FLOAT": np.float32, "DOUBLE": np.float64}
    thresholds = dict(zip(groups[:2], (0.3, 0.8)))
    before = graph(getattr(onnx.TensorProto, kind), getattr(onnx.TensorProto, number))
    bytes_before = before.SerializeToString()
    made = with_thresholds(before, "probabilities", "group", thresholds)
    assert before.SerializeToString() == bytes_before
    onnx.checker.check_model(made)
    session = ort.InferenceSession(made.SerializeToString())
    for name in groups:
        group = np.full((len(SCORES), 1), name if kind == "STRING" else int(name), types[kind])
        given = np.stack([1 - SCORES, SCORES], axis=1).astype(types[number])
        (found,) = session.run(["probabilities"], {"given": given, "group": group})
        expected = moved(SCORES, np.full(len(SCORES), name), thresholds)
        assert found[:, 1] == pytest.approx(expected, abs=1e-6)
        assert found.sum(axis=1) == pytest.approx(1.0)
        assert found.dtype == types[number]


def test_what_can_not_be_looked_up_is_refused() -> None:
    """Unknown inputs and groups that are no whole numbers."""
    before = graph(onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT)
    with pytest.raises(CandidateFailed, match="no input `sex`"):
        with_thresholds(before, "probabilities", "sex", {"f": 0.4})
    with pytest.raises(CandidateFailed, match="neither text nor whole numbers"):
        with_thresholds(before, "probabilities", "group", {"0.5": 0.4})


def test_a_second_output_is_refused() -> None:
    """A label beside the scores would still be the decision at 0.5."""
    before = graph(onnx.TensorProto.INT64, onnx.TensorProto.FLOAT)
    before.graph.node.append(onnx.helper.make_node("ArgMax", ["given"], ["label"], axis=1))
    before.graph.output.append(
        onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["n", 1])
    )
    with pytest.raises(CandidateFailed, match="`label`, which would keep the old decision"):
        with_thresholds(before, "probabilities", "group", {"0": 0.4})
