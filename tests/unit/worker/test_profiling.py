"""What layers lose when they alone are changed, as a worker finds it beside their costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from jettison import registry  # noqa: E402
from jettison.domain.device import ServingProfile  # noqa: E402
from jettison.domain.extension_points import Source  # noqa: E402
from jettison.domain.jobs import ProfileAnswer, ProfileJob  # noqa: E402
from jettison.domain.model import Model  # noqa: E402
from jettison.domain.recipe import Step  # noqa: E402
from jettison.domain.rows import Rows  # noqa: E402
from jettison.domain.splits import FittingData  # noqa: E402
from jettison.graphs.torch_layer_changes import OPTIONS  # noqa: E402
from jettison.loaders.onnx_file import OnnxLoader  # noqa: E402
from jettison.loaders.pytorch import PytorchLoader  # noqa: E402
from jettison.worker.profiling import profile  # noqa: E402

SERVING = ServingProfile((1,), (1.0,), threads=1)
ROWS = 24


@pytest.fixture(scope="module")
def fitting(tmp_path_factory: pytest.TempPathFactory) -> FittingData:
    """Rows of eight numbers in three classes."""
    folder = tmp_path_factory.mktemp("rows")
    random = np.random.default_rng(0)
    np.save(folder / "input.npy", random.normal(size=(ROWS, 8)).astype(np.float32))
    return FittingData.of(Rows(str(folder), ("input",), ROWS, {}, "d" * 64), 0, np.arange(ROWS) % 3)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Three linear layers, the second of which weighs next to nothing in the answer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    source = Source("", "classification", {"inputs": "input: float32[batch, 8]"}, live=net.eval())
    return PytorchLoader().load(source, tmp_path_factory.mktemp("network"))


def run(model: Model, runtime: str, fitting: FittingData, cache: Path) -> ProfileAnswer:
    """The job as the parent writes it, in this process."""
    rows = dataclasses.replace(fitting.rows, names=tuple(spec.name for spec in model.inputs))
    whole = dataclasses.replace(fitting, rows=rows)
    return profile(ProfileJob(model, Step(runtime), rows, SERVING, fitting=whole, cache=str(cache)))


def test_each_layer_of_a_module_has_a_loss_for_each_way(
    network: Model, fitting: FittingData, tmp_path: Path
) -> None:
    """Names are those of the costs; 8 bits cost less than zeros; the second time it is read."""
    answer = run(network, "torch_eager", fitting, tmp_path)
    assert answer.losses is not None
    costs = {layer.name for layer in answer.layers if layer.operator == "Linear"}
    assert set(answer.losses.losses) == costs
    for found in answer.losses.losses.values():
        assert set(found) == set(OPTIONS)
        assert found["float16 weights"] < found["int8 weights"] < found["half pruned"]
    assert f"{ROWS} fitting rows" in answer.losses.note
    assert "right answers" in answer.losses.note
    again = run(network, "torch_eager", fitting, tmp_path)
    assert again.losses == answer.losses, "seconds too: it was read, not found anew"


def test_each_layer_of_a_graph_has_a_measured_distance(
    fitting: FittingData, tmp_path: Path
) -> None:
    """An ONNX graph is run with one layer at a time in 8 bits, also where two operators merge."""
    import onnx

    random = np.random.default_rng(1)
    weights = {
        "a": random.normal(size=(8, 16)).astype(np.float32),
        "bias": random.normal(size=16).astype(np.float32),
        "b": random.normal(size=(16, 3)).astype(np.float32),
    }
    nodes = [
        onnx.helper.make_node("MatMul", ["input", "a"], ["h"], name="first"),
        onnx.helper.make_node("Add", ["h", "bias"], ["s"], name="shift"),
        onnx.helper.make_node("Relu", ["s"], ["r"], name="relu"),
        onnx.helper.make_node("MatMul", ["r", "b"], ["y"], name="second"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["batch", 8])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    path = tmp_path / "graph.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    source = Source(str(path), "classification", {})
    model = OnnxLoader().load(source, tmp_path / "model")
    losses = run(model, "onnx_runtime", fitting, tmp_path / "facts").losses
    assert losses is not None
    assert set(losses.losses) == {"first", "second"}
    assert all(0.0 < found["int8"] < 0.1 for found in losses.losses.values())


def test_what_has_no_gradient_is_a_note(
    network: Model, fitting: FittingData, tmp_path: Path
) -> None:
    """A model of one batch size has no gradient of a row: the profile says so, and goes on."""
    fixed = network.with_traits(add=frozenset({"fixed-batch"}), remove=frozenset())
    spec: Any = dataclasses.replace(fixed.inputs[0], shape=(ROWS, 8))
    answer = run(dataclasses.replace(fixed, inputs=(spec,)), "torch_eager", fitting, tmp_path)
    assert answer.losses is None
    assert any("batches of one size" in note for note in answer.notes)
    assert answer.layers


def test_whatever_fails_there_is_a_note(
    network: Model, fitting: FittingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sensitivity is advice: no error of a library in it ends a run."""
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    for kind in (RuntimeError, ValueError, Fail):

        def fail(self: object, *given: object, kind: type[Exception] = kind) -> None:
            raise kind("not of\nthis shape")

        monkeypatch.setattr(type(registry.get("runtimes", "torch_eager")), "sensitivity", fail)
        answer = run(network, "torch_eager", fitting, tmp_path)
        assert answer.losses is None
        assert answer.layers
        assert any(f"({kind.__name__}): not of this shape." in note for note in answer.notes)


def test_without_rows_nothing_is_looked_for(network: Model, fitting: FittingData) -> None:
    """A job without fitting rows finds costs only, and says nothing about it."""
    answer = profile(ProfileJob(network, Step("torch_eager"), fitting.rows, SERVING))
    assert answer.losses is None
    assert not any("ensitivity" in note for note in answer.notes)
