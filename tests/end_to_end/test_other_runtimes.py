"""A model that one runtime can't load: the search goes on with the others, and the report says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jettison

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
pytestmark = pytest.mark.slow

WIDTH, ROWS = 64, 600


def write_determinants(path: Path) -> None:
    """Scores of two classes from a determinant, an operator that OpenVINO does not read."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "wide": rng.standard_normal((WIDTH, 4 * WIDTH)).astype(np.float32) / 8,
        "four": rng.standard_normal((4 * WIDTH, 4)).astype(np.float32) / 8,
        "square": np.array([-1, 2, 2], dtype=np.int64),
        "column": np.array([-1, 1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "wide"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("MatMul", ["b", "four"], ["c"], "second"),
        helper.make_node("Reshape", ["c", "square"], ["d"], "to_squares"),
        helper.make_node("Det", ["d"], ["e"], "determinant"),
        helper.make_node("Reshape", ["e", "column"], ["f"], "to_column"),
        helper.make_node("Neg", ["f"], ["g"], "other"),
        helper.make_node("Concat", ["f", "g"], ["scores"], "both", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "determinants",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


def test_the_others_go_on(tmp_path: Path) -> None:
    """OpenVINO can't read the graph; what ONNX Runtime makes smaller ships, and both are told."""
    write_determinants(tmp_path / "model.onnx")
    rows = np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)
    result = jettison.optimize(
        str(tmp_path / "model.onnx"),
        {"x": rows},
        max_drop=0.05,
        output=str(tmp_path / "run"),
        ledger=str(tmp_path / "ledger"),
        model_options={"task": "classification"},
        search={
            "techniques": ["convert_openvino", "half_precision"],
            "minimise": ["size_bytes"],
            "trials": 4,
        },
    )
    assert result.exit_code == 0, result.answer
    refused = {one.name: one.reason for one in result.record.space.refused}
    assert "Det" in refused["convert_openvino"]
    assert {trial.recipe.runtime.name for trial in result.record.trials} == {"onnx_runtime"}
    shipped = result.record.trial_of(result.record.shipped)
    assert shipped is not None
    assert shipped.recipe.runtime.name == "onnx_runtime"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "convert_openvino" in page
    assert "Det" in page
