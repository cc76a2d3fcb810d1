"""An original of several outputs is read from the one that its run named, wherever it is loaded again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from jettison.assessment.membership import _source
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.pipeline.load import load_model
from jettison.serving.shadow import load_original


def two_heads(path: Path) -> None:
    """Two outputs of which either may be the prediction."""
    widths = {"note": 4, "loud": 3}
    nodes = [helper.make_node("MatMul", ["x", f"to_{name}"], [name]) for name in widths]
    rng = np.random.default_rng(0)
    weights = {
        f"to_{name}": rng.normal(size=(8, n)).astype(np.float32) for name, n in widths.items()
    }
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["n", n]) for k, n in widths.items()],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_an_original_is_read_from_the_output_that_its_run_named(tmp_path: Path) -> None:
    """As the shadow of a server, and as a reference beside which `leak` judges."""
    path = tmp_path / "pitch.onnx"
    two_heads(path)
    section = ModelSection(str(path), "classification", prediction="note")
    model = load_model(section, tmp_path / "first")
    record: Any = SimpleNamespace(configuration=SimpleNamespace(model=section), model=model)
    served = SimpleNamespace(serving=ServingProfile())
    beside: Any = SimpleNamespace(record=record, served=served, folder=tmp_path)
    understudy = asyncio.run(load_original(str(path), beside, tmp_path / "again"))
    assert understudy.model.prediction == "note"
    reference = load_model(_source(path, record), tmp_path / "reference")
    assert reference.prediction == "note"
