"""ONNX Runtime as a runtime: answers, fixed batches, providers, layers, and no traces."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Rows
from jettison.errors import CandidateFailed
from jettison.runtimes.onnx_runtime import OnnxRunner, OnnxRuntime, session_options


def prepared(model: Model) -> OnnxRunner:
    return OnnxRuntime().prepare(model, model.artifact.path, {}, ServingProfile())


def test_a_fixed_batch_is_answered_row_for_row(
    make_network: Callable[..., Model], rows: Rows
) -> None:
    """A graph saved for 4 rows answers any number of rows like the free graph does."""
    free, fixed = prepared(make_network()), prepared(make_network(batch=4))
    for n in (1, 4, 7):
        batch = rows.batch(slice(0, n))
        answer = fixed.run(batch)["scores"]
        assert answer.shape == (n, 4)
        np.testing.assert_allclose(answer, free.run(batch)["scores"], atol=1e-6)


def test_the_fixed_mnist_network_answers_batches(shared_data: Path) -> None:
    """A real graph that takes one image at a time answers three."""
    path = shared_data / "models" / "mnist-cnn-cntk.onnx"
    model = Model(
        Artifact.of("onnx_file", path.parent, (path.name,)),
        frozenset({"onnx", "fixed-batch"}),
        (TensorSpec("Input3", "float32", (1, 1, 28, 28)),),
        (TensorSpec("Plus214_Output_0", "float32", (1, 10)),),
        "Plus214_Output_0",
        "classification",
        Encoder("arrays"),
    )
    runner = prepared(model)
    images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    together = runner.run({"Input3": images})["Plus214_Output_0"]
    alone = [runner.run({"Input3": images[i : i + 1]})["Plus214_Output_0"] for i in range(3)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    layers = {layer.name: layer for layer in runner.layer_costs({"Input3": images})}
    assert layers["Convolution110"].operator == "Conv"
    assert layers["Convolution110"].macs == 16 * 8 * 25 * 14 * 14
    assert layers["Convolution110"].time_share


def test_every_operator_ran_on_the_cpu(network: Model, rows: Rows) -> None:
    """The providers are those that a profiled call saw, and no other; nothing is made up before."""
    runner = prepared(network)
    assert runner.providers() == {}
    runner.run(rows.batch(slice(0, 1)))
    assert set(runner.providers()) == {"CPUExecutionProvider"}


def test_a_graph_with_a_least_size_tells_its_providers(tmp_path: Path) -> None:
    """A free size that must be 5 at least: the row that ran is asked about, not a made-up one."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "least",
        [value("x", TensorProto.FLOAT, ["n", 1, "time"])],
        [value("y", TensorProto.FLOAT, ["n", 1, "left"])],
        [numpy_helper.from_array(np.ones((1, 1, 5), np.float32), "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    model = Model(
        Artifact.of("onnx_file", tmp_path, ("m.onnx",)),
        frozenset({"onnx"}),
        (TensorSpec("x", "float32", ("n", 1, "time")),),
        (TensorSpec("y", "float32", ("n", 1, "left")),),
        "y",
        "embedding",
        Encoder("arrays"),
    )
    runner = prepared(model)
    runner.run({"x": np.ones((1, 1, 8), np.float32)})
    assert sum(runner.providers().values()) >= 1


def test_layers_add_up_and_know_their_weights(network: Model, rows: Rows) -> None:
    """Time shares sum to 1; parameters and bytes are those of the saved graph."""
    layers = {layer.name: layer for layer in prepared(network).layer_costs(rows.batch(slice(0, 8)))}
    assert sum(layer.time_share or 0.0 for layer in layers.values()) == pytest.approx(1.0)
    assert layers["first"].parameters == 16 * 32
    assert layers["first"].macs == 16 * 32
    assert layers["first"].bytes == 4 * 16 * 32


def test_nothing_is_left_behind(
    network: Model, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profiling writes its file into a folder that is removed, and none beside the caller."""
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    runner = prepared(network)
    runner.run(rows.batch(slice(0, 2)))
    runner.providers()
    runner.layer_costs(rows.batch(slice(0, 2)))
    assert list(here.iterdir()) == list(temporary.iterdir()) == []


def test_threads_and_spinning_come_from_the_serving_profile() -> None:
    """Sessions are sequential, with the threads and the spinning that the user serves with."""
    options = session_options(ServingProfile(threads=2, spinning=False))
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    spinning = session_options(ServingProfile(spinning=True))
    assert spinning.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_a_wrong_input_and_a_setting_are_refused(network: Model) -> None:
    """What onnxruntime refuses is a failed candidate with its reason; there are no settings."""
    with pytest.raises(CandidateFailed, match="could not run"):
        prepared(network).run({"x": np.zeros((1, 3), dtype=np.float32)})
    with pytest.raises(CandidateFailed, match="no settings"):
        OnnxRuntime().prepare(network, network.artifact.path, {"threads": 4}, ServingProfile())
