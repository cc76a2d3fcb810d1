"""NNCF through its two techniques: counted changes, the same bytes again, odd rows and weights."""

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
from jettison.domain.profile import LayerCost, Profile
from jettison.domain.recipe import Potential, Refusal
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.openvino_ir import read_ir
from jettison.graphs.openvino_layers import weighted_layers
from jettison.graphs.openvino_trials import LayerTrials
from jettison.runtimes.openvino import Openvino
from jettison.techniques.nncf_int8 import NncfInt8
from jettison.techniques.nncf_weight_only import NncfWeightOnly
from jettison.worker.workbench import Bench
from tests.openvino_models import converted

Bench_ = Callable[[str], Bench]
QUICK = {"bias_correction": "off"}


@pytest.fixture
def rows() -> Array:
    """40 rows of 16 floats."""
    values: Array = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    return values


@pytest.fixture
def model(
    build_graph: Callable[..., Path], load_graph: Callable[[Path], Model], tmp_path: Path
) -> Model:
    """Two dense layers as OpenVINO IR; the first is far more sensitive than the second."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(16, 64)).astype(np.float32),
        "w2": rng.normal(size=(64, 4)).astype(np.float32) * 0.1,
    }
    # One column as large as all others together: rounding it loses the rest.
    weights["w1"][:, 0] *= 300.0
    nodes = [
        ("MatMul", ["x", "w1"], ["h"]),
        ("Tanh", ["h"], ["t"]),
        ("MatMul", ["t", "w2"], ["y"]),
    ]
    return converted(load_graph(build_graph(nodes, weights)), tmp_path / "ir")


def answers(model: Model, values: Array) -> Array:
    runner = Openvino().prepare(model, model.artifact.path, {}, ServingProfile())
    return runner.run({"x": values})["y"]


def stored(model: Model) -> list[str]:
    return [layer.stored for layer in weighted_layers(read_ir(model.artifact.path))]


def test_products_compute_in_8_bits(
    model: Model, rows: Array, fitting_of: Callable[..., FittingData], bench_in: Bench_
) -> None:
    """Both layers are rounded, counted, told and run by integer kernels; traits follow."""
    done = NncfInt8().apply(model, QUICK, fitting_of(rows), bench_in("int8"))
    assert stored(done.model) == ["i8", "i8"]
    assert (done.changes[0].operators, done.changes[0].weights) == (2, 16 * 64 + 64 * 4)
    assert "2 of 2 MatMul to i8" in done.changes[0].what
    assert "40 rows" in done.changes[0].what
    assert "int8" in done.model.traits
    assert "float32" not in done.model.traits
    path = done.model.artifact.path
    counts = Openvino().prepare(done.model, path, {}, ServingProfile()).providers()
    assert any("8" in name for name in counts), counts


def test_the_same_seed_gives_the_same_bytes(
    model: Model, rows: Array, fitting_of: Callable[..., FittingData], bench_in: Bench_
) -> None:
    """Also with bias correction, which runs the model."""
    fitting = fitting_of(rows)
    first = NncfInt8().apply(model, {}, fitting, bench_in("first"))
    second = NncfInt8().apply(model, {}, fitting, bench_in("second"))
    assert first.model.artifact.digest == second.model.artifact.digest


def test_the_most_sensitive_layer_is_spared(
    model: Model, rows: Array, fitting_of: Callable[..., FittingData], bench_in: Bench_
) -> None:
    """With one layer excluded, it is the one that loses most alone; the order is remembered."""
    bench, fitting = bench_in("spared"), fitting_of(rows)
    done = NncfInt8().apply(model, {**QUICK, "exclude_layers": 1}, fitting, bench)
    assert stored(done.model) == ["f32", "i8"]
    assert "left in float: " in done.changes[0].what
    remembered = list(bench.cache.glob("openvino-sensitivity-*"))
    assert len(remembered) == 1


def test_trials_change_one_layer_at_a_time(model: Model, rows: Array) -> None:
    """Without a layer the answers are the original's; each layer alone moves them a little."""
    graph = read_ir(model.artifact.path)
    names = [layer.name for layer in weighted_layers(graph)]
    trials = LayerTrials(graph, names, [{"x": rows[i : i + 1]} for i in range(4)], "y")
    np.testing.assert_allclose(trials.answers(), answers(model, rows[:4]), atol=1e-6)
    apart = [float(np.abs(trials.answers(name) - trials.answers()).max()) for name in names]
    assert apart[0] > apart[1] > 0.0
    assert trials.local_error(names[0]) > trials.local_error(names[1]) > 0.0


def test_excluding_every_layer_changes_nothing(
    model: Model, rows: Array, fitting_of: Callable[..., FittingData], bench_in: Bench_
) -> None:
    """Zero layers in 8 bits is an error, not a candidate."""
    with pytest.raises(NothingChanged, match="all were excluded"):
        NncfInt8().apply(
            model, {**QUICK, "exclude_layers": 2}, fitting_of(rows), bench_in("nothing")
        )


@pytest.mark.parametrize("technique", [NncfInt8(), NncfWeightOnly()])
def test_a_graph_without_weights_changes_nothing(
    technique: Any,
    build_graph: Callable[..., Path],
    load_graph: Callable[[Path], Model],
    fitting_of: Callable[..., FittingData],
    bench_in: Bench_,
    tmp_path: Path,
) -> None:
    """There is nothing to round in it."""
    bare = converted(load_graph(build_graph([("Relu", ["x"], ["y"])], {})), tmp_path / "bare")
    with pytest.raises(NothingChanged, match="constant float weights"):
        technique.apply(bare, {}, fitting_of(np.ones((2, 16), np.float32)), bench_in("bare"))


@pytest.mark.parametrize(
    "values",
    [np.ones((1, 16)), np.zeros((4, 16)), np.full((4, 16), 3.0)],
    ids=["one row", "all zero", "constant"],
)
def test_poor_calibration_rows_give_numbers(
    model: Model,
    values: Array,
    rows: Array,
    fitting_of: Callable[..., FittingData],
    bench_in: Bench_,
) -> None:
    """One row or constant ones leave ranges without width; answers stay finite."""
    fitting = fitting_of(values.astype(np.float32))
    done = NncfInt8().apply(model, QUICK, fitting, bench_in("poor"))
    assert np.isfinite(answers(done.model, rows)).all()


def test_a_layer_of_zeros_stays_zero(
    build_graph: Callable[..., Path],
    load_graph: Callable[[Path], Model],
    rows: Array,
    fitting_of: Callable[..., FittingData],
    bench_in: Bench_,
    tmp_path: Path,
) -> None:
    """Weights without any size are rounded to zeros, not to NaN, by both techniques."""
    path = build_graph([("MatMul", ["x", "w"], ["y"])], {"w": np.zeros((16, 8), np.float32)})
    zeros = converted(load_graph(path), tmp_path / "zeros")
    for technique, settings in ((NncfInt8(), QUICK), (NncfWeightOnly(), {"mode": "int8"})):
        bench = bench_in(technique.name)
        done = technique.apply(zeros, settings, fitting_of(rows), bench)
        np.testing.assert_array_equal(answers(done.model, rows), np.zeros((40, 8)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((0, 16)), "no calibration rows"),
        (np.array([[1.0] * 16, [np.nan] * 16]), "`x` of calibration row 1 is NaN or infinite"),
        (np.zeros((3, 0)), "`x` of calibration row 0 has shape"),
    ],
    ids=["none", "NaN", "length 0"],
)
def test_rows_that_give_no_range_are_named(
    model: Model,
    values: Array,
    message: str,
    fitting_of: Callable[..., FittingData],
    bench_in: Bench_,
) -> None:
    """NNCF would go on with infinite ranges."""
    with pytest.raises(CandidateFailed, match=message):
        NncfInt8().apply(model, {}, fitting_of(values.astype(np.float32)), bench_in("bad"))


def test_rows_of_another_width_are_refused(
    model: Model, fitting_of: Callable[..., FittingData], bench_in: Bench_
) -> None:
    """OpenVINO's reason is quoted."""
    with pytest.raises(CandidateFailed, match="NNCF failed on this model"):
        NncfInt8().apply(model, {}, fitting_of(np.ones((2, 15), np.float32)), bench_in("wide"))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("int8", ["u8", "u8"]), ("int4_32", ["f32", "i4"]), ("int4_64", ["f32", "i4"])],
)
def test_weights_alone_are_stored_in_few_bits(
    mode: str,
    expected: list[str],
    build_graph: Callable[..., Path],
    load_graph: Callable[[Path], Model],
    rows: Array,
    fitting_of: Callable[..., FittingData],
    bench_in: Bench_,
    tmp_path: Path,
) -> None:
    """8 bits everywhere; 4 bits where the channels are a multiple of the group; told and counted."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(16, 128)).astype(np.float32),
        "w2": rng.normal(size=(128, 64)).astype(np.float32),
        "w3": rng.normal(size=(64, 4)).astype(np.float32),
    }
    nodes = [
        ("MatMul", ["x", "w1"], ["h"]),
        ("Relu", ["h"], ["r"]),
        ("MatMul", ["r", "w2"], ["s"]),
        ("Tanh", ["s"], ["t"]),
        ("MatMul", ["t", "w3"], ["y"]),
    ]
    deep = converted(load_graph(build_graph(nodes, weights)), tmp_path / "deep")
    done = NncfWeightOnly().apply(deep, {"mode": mode}, fitting_of(rows), bench_in(mode))
    found = stored(done.model)
    # The last layer gets 8 bits in every mode.
    assert found == [*expected, "u8"]
    assert done.changes[0].operators == sum(bits != "f32" for bits in found)
    assert "float32" not in done.model.traits
    assert done.model.artifact.size_bytes < deep.artifact.size_bytes
    before, after = answers(deep, rows), answers(done.model, rows)
    # Rows are not rounded, so a row alone has the answer that it has among others.
    np.testing.assert_allclose(answers(done.model, rows[:1]), after[:1], atol=1e-4)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("technique", "settings", "message"),
    [
        (NncfInt8(), {"preset": "fastest"}, "`preset` of `nncf_int8` must be one of performance"),
        (NncfInt8(), {"half_range": "some"}, "`half_range` of `nncf_int8` must be one of all"),
        (NncfInt8(), {"rows": 0}, "`rows` of `nncf_int8` must be at least 1"),
        (NncfWeightOnly(), {"mode": "int3"}, "`mode` of `nncf_weight_only` must be one of int8"),
    ],
)
def test_settings_out_of_range_are_refused(
    technique: Any,
    settings: dict[str, Any],
    message: str,
    model: Model,
    rows: Array,
    fitting_of: Callable[..., FittingData],
    bench_in: Bench_,
) -> None:
    """What is allowed stands in the message."""
    with pytest.raises(CandidateFailed, match=message):
        technique.apply(model, settings, fitting_of(rows), bench_in("settings"))


def test_potentials_say_why(model: Model) -> None:
    """int8 may gain speed; weights alone gain bytes while products are computed in float."""
    device = dataclasses.replace(machine.describe_device(), features=("avx2",))
    layers = (LayerCost("first", "MatMul", 1024, 1024 * 64, 4096, 0.8),)
    profile = Profile(device, ServingProfile(), (), layers, 1e9, 0.02, 5000)
    int8 = NncfInt8().potential(model, profile)
    assert isinstance(int8, Potential)
    assert int8.speedup > 1.5
    assert NncfInt8().search_space(model, profile)["half_range"].default == "all"
    alone = NncfWeightOnly().potential(model, profile)
    assert isinstance(alone, Potential)
    assert (alone.speedup, alone.size_ratio) == (1.0, 0.125)
    bare = model.with_traits(add=frozenset(), remove=frozenset({"matmul"}))
    assert isinstance(NncfInt8().potential(bare, profile), Refusal)
    assert isinstance(NncfWeightOnly().potential(bare, profile), Refusal)


def test_rows_of_several_lengths_are_compared(
    build_graph: Callable[..., Path], load_graph: Callable[[Path], Model], tmp_path: Path
) -> None:
    """Where each token has an answer, a shorter row is filled up with zeros."""
    weights = {"w": np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)}
    path = build_graph([("MatMul", ["x", "w"], ["y"])], weights, ("batch", "time", 16), rank=3)
    graph = read_ir(converted(load_graph(path), tmp_path / "tokens").artifact.path)
    names = [layer.name for layer in weighted_layers(graph)]
    rows = [{"x": np.ones((1, length, 16), np.float32)} for length in (2, 5)]
    trials = LayerTrials(graph, names, rows, "y")
    found = trials.answers(names[0])
    assert found.shape == trials.answers().shape == (2, 5 * 4)
    assert not found[0, 2 * 4 :].any()
    assert found[1, 2 * 4 :].all()


def test_a_constant_that_scales_the_input_is_no_weight(
    build_graph: Callable[..., Path],
    load_graph: Callable[[Path], Model],
    rows: Array,
    fitting_of: Callable[..., FittingData],
    bench_in: Bench_,
    tmp_path: Path,
) -> None:
    """The layer behind it is counted by its own weights."""
    rng = np.random.default_rng(0)
    weights = {
        "scale": rng.uniform(0.5, 1.5, (1, 16)).astype(np.float32),
        "w": rng.normal(size=(16, 8)).astype(np.float32),
    }
    nodes = [("Mul", ["scale", "x"], ["s"]), ("MatMul", ["s", "w"], ["y"])]
    scaled = converted(load_graph(build_graph(nodes, weights)), tmp_path / "scaled")
    assert [layer.parameters for layer in weighted_layers(read_ir(scaled.artifact.path))] == [128]
    done = NncfInt8().apply(scaled, QUICK, fitting_of(rows), bench_in("scaled"))
    assert (done.changes[0].operators, done.changes[0].weights) == (1, 16 * 8)
