"""The conversion to OpenVINO: through a worker, with the answers compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.model import Model, TensorSpec
from jettison.domain.recipe import Recipe, Refusal, Step
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.openvino_ir import read_ir
from jettison.pipeline.apply import apply
from jettison.techniques.convert_openvino import ConvertOpenvino
from jettison.worker.workbench import Bench


def dense(rng: np.random.Generator) -> dict[str, Any]:
    return {"w": rng.normal(size=(16, 8)).astype(np.float32)}


def test_a_recipe_ends_on_openvino(
    build_graph: Callable[..., Path],
    load_graph: Callable[[Path], Model],
    fitting_of: Callable[..., FittingData],
    tmp_path: Path,
) -> None:
    """The worker converts, compares the answers, and runs the result on its home runtime."""
    rng = np.random.default_rng(0)
    model = load_graph(build_graph([("MatMul", ["x", "w"], ["y"])], dense(rng)))
    fitting = fitting_of(rng.normal(size=(12, 16)).astype(np.float32))
    recipe = Recipe((Step("convert_openvino"),), Step(""))
    made = apply(model, recipe, fitting, tmp_path / "made", ServingProfile((1, 4), (0.5, 0.5)))
    assert made.model.artifact.format == "openvino_ir"
    assert {"openvino", "float32", "matmul"} <= made.model.traits
    assert "onnx" not in made.model.traits
    assert "batch-dependent" not in made.model.traits


def test_operators_that_openvino_lacks_are_a_failed_candidate(
    build_graph: Callable[..., Path],
    load_graph: Callable[[Path], Model],
    fitting_of: Callable[..., FittingData],
    bench_in: Callable[[str], Bench],
) -> None:
    """The others go on, and the reason names the operator."""
    nodes = [("Det", ["x"], ["d"]), ("Unsqueeze", ["d", "one"], ["y"])]
    path = build_graph(nodes, {"one": np.array([1], dtype=np.int64)}, ("batch", 4, 4))
    fitting = fitting_of(np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32))
    with pytest.raises(CandidateFailed, match="Det"):
        ConvertOpenvino().apply(load_graph(path), {}, fitting, bench_in("det"))


def test_text_is_refused_beforehand(
    build_graph: Callable[..., Path], load_graph: Callable[[Path], Model]
) -> None:
    """A graph with text in it is told apart before anything runs."""
    model = load_graph(
        build_graph([("MatMul", ["x", "w"], ["y"])], dense(np.random.default_rng(0)))
    )
    text = dataclasses.replace(model, inputs=(TensorSpec("x", "str", ("batch", 1)),))
    profile: Any = None
    assert isinstance(ConvertOpenvino().potential(text, profile), Refusal)


def test_weights_behind_a_reshape_are_settled(
    build_graph: Callable[..., Path],
    load_graph: Callable[[Path], Model],
    fitting_of: Callable[..., FittingData],
    bench_in: Callable[[str], Bench],
) -> None:
    """NNCF fails on what CNTK exports (a reshaped weight, a bias of 3 dimensions); not after this."""
    rng = np.random.default_rng(0)
    nodes = [
        ("Conv", ["x", "k"], ["c"]),
        ("Add", ["c", "bias"], ["b"]),
        ("Reshape", ["b", "flat"], ["f"]),
        ("Reshape", ["w", "square"], ["v"]),
        ("MatMul", ["f", "v"], ["y"]),
    ]
    weights = {
        "k": rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=(4, 1, 1)).astype(np.float32),
        "w": rng.normal(size=(4, 16, 3)).astype(np.float32),
        "flat": np.array([-1, 64], dtype=np.int64),
        "square": np.array([64, 3], dtype=np.int64),
    }
    path = build_graph(nodes, weights, ("batch", 1, 6, 6))
    fitting = fitting_of(rng.normal(size=(4, 1, 6, 6)).astype(np.float32))
    done = ConvertOpenvino().apply(load_graph(path), {}, fitting, bench_in("settled"))
    graph = read_ir(done.model.artifact.path)
    by_kind = {node.get_type_name(): node for node in graph.get_ordered_ops()}
    weight = by_kind["MatMul"].input_value(1).get_node()
    assert (weight.get_type_name(), list(weight.get_output_shape(0))) == ("Constant", [64, 3])
    assert list(by_kind["Add"].input_value(1).get_node().get_output_shape(0)) == [1, 4, 1, 1]
