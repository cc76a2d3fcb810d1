"""OpenVINO as a runtime: answers, threads, streams, precision, kernels, layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import machine
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.rows import Rows
from jettison.errors import CandidateFailed
from jettison.runtimes.onnx_runtime import OnnxRuntime
from jettison.runtimes.openvino import Openvino, OpenvinoRunner
from tests.openvino_models import converted


def prepared(
    model: Model, serving: ServingProfile | None = None, **settings: Any
) -> OpenvinoRunner:
    serving = serving or ServingProfile()
    return Openvino().prepare(model, model.artifact.path, settings, serving)


@pytest.fixture
def ir(network: Model, tmp_path: Path) -> Model:
    """The network of two dense layers as OpenVINO IR."""
    return converted(network, tmp_path / "ir")


def test_it_answers_as_onnx_runtime_does(network: Model, ir: Model, rows: Rows) -> None:
    """Rows alone and together have the answers that the ONNX graph gives."""
    original = OnnxRuntime().prepare(network, network.artifact.path, {}, ServingProfile())
    runner = prepared(ir)
    for n in (1, 5, 64):
        batch = rows.batch(slice(0, n))
        expected = original.run(batch)["scores"]
        np.testing.assert_allclose(runner.run(batch)["scores"], expected, atol=1e-6)


def test_an_answer_stays_when_the_next_is_computed(ir: Model, rows: Rows) -> None:
    """Answers are copies: OpenVINO writes the next ones over its own arrays."""
    runner = prepared(ir)
    first = runner.run(rows.batch(slice(0, 4)))["scores"]
    kept = first.copy()
    runner.run(rows.batch(slice(4, 8)))
    np.testing.assert_array_equal(first, kept)


def test_a_fixed_batch_is_answered_row_for_row(
    make_network: Callable[..., Model], tmp_path: Path, rows: Rows
) -> None:
    """A graph saved for 4 rows answers any number of rows like the free graph does."""
    free = prepared(converted(make_network(), tmp_path / "free"))
    fixed = prepared(converted(make_network(batch=4), tmp_path / "fixed"))
    for n in (1, 4, 7):
        batch = rows.batch(slice(0, n))
        answer = fixed.run(batch)["scores"]
        assert answer.shape == (n, 4)
        np.testing.assert_allclose(answer, free.run(batch)["scores"], atol=1e-6)


def test_streams_divide_a_batch(ir: Model, rows: Rows) -> None:
    """Two streams answer a batch as one does, also when a stream has no row left."""
    serving = ServingProfile((1, 8), (0.5, 0.5), threads=2)
    one, two = prepared(ir, serving), prepared(ir, serving, streams=2)
    for n in (1, 2, 7):
        batch = rows.batch(slice(0, n))
        np.testing.assert_allclose(two.run(batch)["scores"], one.run(batch)["scores"], atol=1e-6)


def test_a_stream_is_free_again_after_a_failure(ir: Model, rows: Rows) -> None:
    """A batch that fails in both streams leaves none of them busy."""
    runner = prepared(ir, ServingProfile((1, 8), (0.5, 0.5), threads=2), streams=2)
    with pytest.raises(CandidateFailed, match="OpenVINO could not run"):
        runner.run({"x": np.zeros((4, 15), np.float32)})
    assert np.isfinite(runner.run(rows.batch(slice(0, 4)))["scores"]).all()


def test_threads_are_those_of_the_serving_profile(ir: Model) -> None:
    """No setting and no hint of OpenVINO gives a candidate other threads than the baseline has."""
    for threads, streams in ((1, 1), (2, 1), (2, 2)):
        runner = prepared(ir, ServingProfile(threads=threads), streams=streams)
        used = {
            name: runner._compiled.get_property(name)
            for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING")
        }
        assert used == {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,
        }


def test_more_streams_than_threads_are_refused(ir: Model) -> None:
    """Streams share the threads, so there can't be more of them."""
    with pytest.raises(CandidateFailed, match="from 1 to the 1 threads"):
        prepared(ir, streams=2)


def test_sums_are_32_bit_unless_asked(ir: Model) -> None:
    """On a CPU with bfloat16 OpenVINO would compute in that by itself."""
    precision = prepared(ir)._compiled.get_property("INFERENCE_PRECISION_HINT")
    assert precision.get_type_name() == "f32"


@pytest.mark.skipif(
    any("bf16" in feature for feature in machine.describe_device().features),
    reason="this CPU computes in bfloat16",
)
def test_bfloat16_is_refused_where_the_cpu_lacks_it(ir: Model) -> None:
    """OpenVINO would compute in float32 and say nothing."""
    with pytest.raises(CandidateFailed, match="no bfloat16 arithmetic"):
        prepared(ir, precision="bf16")


def test_unknown_settings_and_values_are_refused(ir: Model) -> None:
    """A misspelt setting is named, with those that there are."""
    with pytest.raises(CandidateFailed, match=r"no setting `stream`.*streams"):
        prepared(ir, stream=1)
    with pytest.raises(CandidateFailed, match="one of f32, bf16; got 'f16'"):
        prepared(ir, precision="f16")


def test_kernels_are_counted_by_precision(ir: Model) -> None:
    """A float network runs in float kernels, and no input or constant counts as one."""
    counts = prepared(ir).providers()
    assert counts["openvino-cpu f32"] >= 2
    assert not any("i8" in name for name in counts)


def test_layers_bear_the_names_of_the_onnx_graph(ir: Model, rows: Rows) -> None:
    """Fused kernels are told as the products that they hold, with sizes and shares of the time."""
    layers = {cost.name: cost for cost in prepared(ir).layer_costs(rows.batch(slice(0, 3)))}
    first = layers["first"]
    assert (first.operator, first.parameters, first.macs, first.bytes) == ("MatMul", 512, 512, 2048)
    assert first.time_share
    shares = [cost.time_share for cost in layers.values() if cost.time_share is not None]
    assert sum(shares) == pytest.approx(1.0)


def test_the_fixed_mnist_network_has_its_convolutions(shared_data: Path, tmp_path: Path) -> None:
    """Shapes of a real network: products of a convolution are counted once per output value."""
    from jettison.domain.configuration import ModelSection
    from jettison.pipeline.load import load_model

    path = shared_data / "models" / "mnist-cnn-cntk.onnx"
    model = converted(load_model(ModelSection(str(path)), tmp_path / "model"), tmp_path / "ir")
    images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    layers = {c.name: c for c in prepared(model).layer_costs({"Input3": images})}
    assert layers["Convolution110"].operator == "Conv"
    assert layers["Convolution110"].macs == 16 * 8 * 25 * 14 * 14
    assert layers["Convolution110"].time_share


def test_rows_of_another_width_are_refused(ir: Model) -> None:
    """OpenVINO's reason is quoted, without the names of its source files."""
    with pytest.raises(CandidateFailed, match="OpenVINO could not run") as caught:
        prepared(ir).run({"x": np.zeros((2, 15), np.float32)})
    assert ".cpp" not in str(caught.value)


def profile_of(model: Model, serving: ServingProfile, *features: str) -> Profile:
    device = dataclasses.replace(machine.describe_device(), features=features)
    return Profile(device, serving, (), (), 1e9, 0.02, model.artifact.size_bytes)


def test_only_what_can_matter_is_open(ir: Model) -> None:
    """Streams need threads and batches; the others need their instructions, some also products."""
    space = Openvino().search_space
    one = ServingProfile((1, 8), (0.5, 0.5))
    assert space(ir, profile_of(ir, one, "avx2")) == {}
    several = ServingProfile((1, 8), (0.5, 0.5), threads=4)
    assert set(space(ir, profile_of(ir, several, "avx2"))) == {"streams"}
    server = profile_of(ir, one, "avx2", "avx512_vnni", "amx_int8", "amx_bf16")
    assert set(space(ir, server)) == {"activation_group", "precision", "sparse_rate"}
    without = ir.with_traits(add=frozenset(), remove=frozenset({"matmul"}))
    assert set(space(without, server)) == {"precision"}
