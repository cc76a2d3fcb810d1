"""Kernels of the optimised graph are named after the operators of the saved one."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from jettison.domain.model import Model
from jettison.graphs.onnx_kernels import Kernel, SavedGraph, layer_costs


def convolution(path: Path) -> Path:
    """Writes Conv, then Add, then Relu."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Add", ["c", "b"], ["a"], name="add"),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, [2, 1, 3, 3], [0.1] * 18),
        helper.make_tensor("b", TensorProto.FLOAT, [1], [1.0]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 3, 3])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize(
    ("kernel", "operator", "found"),
    [
        ("conv", "Conv", "conv"),
        ("relu", "Relu", "relu"),
        ("y_nchwc", "Conv", "conv"),
        ("InsertedPrecisionFreeCast_y_nchwc", "Conv", "conv"),
        ("conv_token_3", "QLinearConv", "conv"),
        ("add/SomeFusion", "Gemm", "add"),
        ("ReorderOutput", "ReorderOutput", None),
        ("unknown_nchwc", "Conv", None),
    ],
)
def test_rewritten_names_lead_back(
    kernel: str, operator: str, found: str | None, tmp_path: Path
) -> None:
    """Blocked layouts, fusions and casts keep a trace of the operator that they stand for."""
    graph = SavedGraph(convolution(tmp_path / "m.onnx"))
    assert graph.find(Kernel(kernel, operator, 1.0)) == found


def test_time_is_shared_out_and_bytes_are_kept(tmp_path: Path) -> None:
    """A fused kernel gives its time to one operator; the other keeps its bytes without a time."""
    path = convolution(tmp_path / "m.onnx")
    kernels = [Kernel("y_nchwc", "Conv", 30.0), Kernel("ReorderOutput", "ReorderOutput", 10.0)]
    layers = {layer.name: layer for layer in layer_costs(path, kernels, {"x": (1, 1, 5, 5)})}
    assert layers["conv"].time_share == pytest.approx(0.75)
    assert layers["conv"].bytes == 72
    assert layers["conv"].macs == 2 * 9 * 9
    assert layers["ReorderOutput"].time_share == pytest.approx(0.25)
    assert layers["add"].time_share is None
    assert layers["add"].bytes == 4


def test_nothing_is_lost_from_the_file(network: Model) -> None:
    """The bytes of all layers are those of all constants, whatever ran."""
    layers = layer_costs(network.artifact.path, [], {"x": (1, 16)})
    assert sum(layer.bytes for layer in layers) == 4 * (16 * 32 + 32 + 32 * 4)
    assert all(layer.time_share is None for layer in layers)
