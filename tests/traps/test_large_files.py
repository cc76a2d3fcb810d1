"""Weights beside the graph, as in files over 2 GB: every technique on ONNX graphs takes them.

The limit from which weights lie beside the graph is lowered to 4 kB (onnxruntime 11072).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.recipe import Step
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.worker.workbench import Bench, prepare

LIMIT = 4096
WIDTH = 64
TRAITS = frozenset({"onnx", "standard-operators", "float32", "matmul"})
LIGHT = frozenset({"onnx", "onnxruntime"})
TECHNIQUES = [
    name
    for name in registry.names("techniques")
    if registry.get("techniques", name).requires <= TRAITS
    and set(registry.get("techniques", name).packages) <= LIGHT
]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Two products whose weights (48 kB) lie in a file of their own."""
    import jettison.graphs.onnx_prepare  # noqa: F401 - it reads the limit under a name of its own

    for name, module in list(sys.modules.items()):
        if name.startswith("jettison.graphs.") and hasattr(module, "INLINE_LIMIT"):
            monkeypatch.setattr(module, "INLINE_LIMIT", LIMIT)
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(0, 0.2, (WIDTH, 2 * WIDTH)).astype(np.float32),
        "w2": rng.normal(0, 0.2, (2 * WIDTH, WIDTH)).astype(np.float32),
        "w3": rng.normal(0, 0.2, (WIDTH, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="bend"),
        helper.make_node("MatMul", ["b", "w2"], ["c"], name="second"),
        helper.make_node("MatMul", ["c", "w3"], ["scores"], name="third"),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    folder = tmp_path / "large"
    folder.mkdir()
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(
        proto,
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=1024,
    )
    return Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx", "model.onnx.data")),
        traits=TRAITS,
        inputs=(TensorSpec("x", "float32", ("batch", WIDTH)),),
        outputs=(TensorSpec("scores", "float32", ("batch", 4)),),
        prediction="scores",
        task="classification",
        encoder=Encoder("arrays", digest="arrays"),
    )


@pytest.fixture
def fitting(tmp_path: Path) -> FittingData:
    """32 rows of ordinary numbers."""
    folder = tmp_path / "rows"
    folder.mkdir()
    values = np.random.default_rng(1).normal(size=(32, WIDTH)).astype(np.float32)
    np.save(folder / "x.npy", values)
    return FittingData(Rows(str(folder), ("x",), 32, {}, hashlib.sha256(values).hexdigest()), 0)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_weights_beside_the_graph_are_changed_and_stay_beside_it(
    name: str, large: Model, fitting: FittingData, tmp_path: Path
) -> None:
    """The answers stay close, and the source is untouched."""
    folder, cache = tmp_path / "step", tmp_path / "cache"
    folder.mkdir()
    cache.mkdir()
    bench = Bench(folder, cache, machine.describe_device(), ServingProfile())
    before = {f: (Path(large.artifact.folder) / f).read_bytes() for f in large.artifact.files}
    try:
        made = registry.get("techniques", name).apply(large, {}, fitting, bench).model
    except NothingChanged:
        return
    except CandidateFailed as refusal:
        refused = str(refusal)
    else:
        refused = ""
    if refused:
        # Some need the labels or groups of rows, whatever the size of the file.
        assert "label" in refused or "group" in refused
        return
    after = {f: (Path(large.artifact.folder) / f).read_bytes() for f in large.artifact.files}
    assert after == before
    graph = Path(made.artifact.path)
    assert graph.stat().st_size < 3 * LIMIT + 8192
    batch = fitting.rows.batch(slice(0, 8))
    runtime = Step("onnx_runtime")
    own = prepare(made, runtime, ServingProfile()).run(batch)["scores"]
    expected = prepare(large, runtime, ServingProfile()).run(batch)["scores"]
    scale = np.abs(expected).max()
    assert np.isfinite(own).all()
    assert np.abs(own - expected).max() < 0.35 * scale


def test_the_common_techniques_are_among_them() -> None:
    """An empty list would test nothing."""
    assert {"half_precision", "int8_dynamic", "int8_static"} <= set(TECHNIQUES)
