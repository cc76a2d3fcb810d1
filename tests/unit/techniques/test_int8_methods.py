"""What static int8 does beyond the default: calibrators, signs, biases, layers in float, diagnosis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs import onnx_layer_times, onnx_spared, onnx_taps
from jettison.graphs.onnx_prepare import float_answers, run_session
from jettison.graphs.onnx_quantize import Rounding, quantize_static
from jettison.graphs.onnx_range_trials import RangeTrials, fixed_ranges
from jettison.graphs.onnx_ranges import find_ranges
from jettison.graphs.onnx_storage import save_model
from jettison.graphs.onnx_workpiece import on_the_bench
from jettison.machine import describe_device
from jettison.numerics.range_choice import held_out_rows
from jettison.techniques.int8_dynamic import Int8Dynamic
from jettison.techniques.int8_static import Int8Static
from jettison.worker.workbench import Bench

BenchIn = Callable[[str], Bench]
LoadGraph = Callable[[Path], Model]
FittingOf = Callable[..., FittingData]

ALL = {
    "held_out": {"calibrator": "held_out"},
    "held_out_per_tensor": {"calibrator": "held_out_per_tensor"},
    "mse": {"calibrator": "mse"},
    "entropy": {"calibrator": "entropy"},
    "bias_correction": {"bias_correction": True},
    "u8u8": {"signs": "u8u8"},
    "s8s8": {"signs": "s8s8"},
    "smoothing": {"smoothing": True},
}


def weights(*shape: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    return values.astype(np.float32)


def inputs(n: int = 32, width: int = 16, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def answer(model: Model, bench: Bench, batch: Array) -> Array:
    return np.asarray(bench.runner(model).run({"x": batch})[model.prediction])


def error(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture
def dense(build_graph: Any, load_graph: LoadGraph) -> Model:
    """Two dense layers with biases and a ReLU between."""
    nodes = [
        ("Gemm", ["x", "w1", "b1"], ["a"]),
        ("Relu", ["a"], ["c"]),
        ("MatMul", ["c", "w2"], ["d"]),
        ("Add", ["d", "b2"], ["y"]),
    ]
    held = {
        "w1": weights(16, 64),
        "b1": weights(64),
        "w2": weights(64, 8, seed=2),
        "b2": weights(8, seed=3),
    }
    return load_graph(build_graph(nodes, held))


@pytest.fixture
def ruined(build_graph: Any, load_graph: LoadGraph) -> Model:
    """A tiny layer reads one huge channel that it hardly weighs; two large layers follow."""
    scales = np.where(np.arange(16) == 5, 3000.0, 1.0).astype(np.float32)
    tiny = weights(16, 16, seed=4)
    tiny[5] /= 3000.0
    nodes = [
        ("Mul", ["x", "s"], ["huge"]),
        onnx.helper.make_node("MatMul", ["huge", "tiny"], ["a"], name="/body/tiny"),
        ("Tanh", ["a"], ["b"]),
        onnx.helper.make_node("MatMul", ["b", "w1"], ["c"], name="/body/wide"),
        ("Relu", ["c"], ["d"]),
        onnx.helper.make_node("MatMul", ["d", "w2"], ["e"], name="/body/deep"),
        ("Relu", ["e"], ["f"]),
        onnx.helper.make_node("MatMul", ["f", "w3"], ["y"], name="/head"),
    ]
    held = {
        "s": scales,
        "tiny": tiny,
        "w1": weights(16, 1500, seed=5),
        "w2": weights(1500, 1500, seed=6),
        "w3": weights(1500, 8, seed=7),
    }
    return load_graph(build_graph(nodes, held))


@pytest.mark.parametrize("way", sorted(ALL))
@pytest.mark.parametrize("what", ["usual", "zero weights", "constant", "positive", "negative"])
def test_every_way_survives_degenerate_values(
    way: str,
    what: str,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """Layers of zeros, constant activations and values of one sign give answers that stay close."""
    x, first = inputs(), weights(16, 12)
    if what == "zero weights":
        first = np.zeros_like(first)
    if what in {"positive", "negative"}:
        x = np.abs(x) * (1 if what == "positive" else -1)
    if what == "constant":
        x = np.full_like(x, 0.5)
    nodes = [
        ("Gemm", ["x", "w1", "b1"], ["a"]),
        ("Tanh", ["a"], ["b"]),
        ("MatMul", ["b", "w2"], ["y"]),
    ]
    held = {"w1": first, "b1": weights(12, seed=3), "w2": weights(12, 4, seed=2)}
    model, bench = load_graph(build_graph(nodes, held)), bench_in("a")
    done = Int8Static().apply(model, ALL[way], fitting_of(x), bench)
    atol = 0.5 if way == "entropy" else 0.06
    np.testing.assert_allclose(answer(done.model, bench, x), answer(model, bench, x), atol=atol)


@pytest.mark.parametrize("name", ["held_out", "held_out_per_tensor"])
def test_ranges_are_chosen_on_rows_that_none_saw(
    name: str, dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """One row of ten thousand times the size makes percentiles and minmax lose, and all are told."""
    x = inputs(64)
    x[3] *= 200.0
    bench = bench_in("a")
    done = Int8Static().apply(dense, {"calibrator": name}, fitting_of(x), bench)
    plain = Int8Static().apply(dense, {}, fitting_of(x), bench_in("b"))
    usual = inputs(64, seed=9)
    expected = answer(dense, bench, usual)
    assert "loss on held-out rows: minmax" in done.changes[0].what
    assert error(answer(done.model, bench, usual), expected) < 0.7 * error(
        answer(plain.model, bench, usual), expected
    )


@pytest.mark.parametrize("n", [8, 12, 40])
def test_halves_of_held_out_rows_are_different_rows(
    n: int, dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Also few held-out rows come in two calls, so that one half can turn down the other's luck."""
    with on_the_bench(dense, fitting_of(inputs(n)), bench_in("a")) as piece:
        calls = piece.last_rows(held_out_rows(n))
    assert len(calls) > 1
    assert sum(len(call["x"]) for call in calls) == held_out_rows(n)


def test_too_few_rows_to_hold_any_out(
    dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """One calibration row can't be held out: said, with what would do."""
    with pytest.raises(CandidateFailed, match=r"at least 8; there are 1\. Give more rows, or name"):
        Int8Static().apply(dense, {"calibrator": "held_out"}, fitting_of(inputs(1)), bench_in("a"))


@pytest.mark.parametrize(
    ("signs", "activation", "weight"),
    [
        ("u8s8", TensorProto.UINT8, TensorProto.INT8),
        ("u8u8", TensorProto.UINT8, TensorProto.UINT8),
        ("s8s8", TensorProto.INT8, TensorProto.INT8),
    ],
)
def test_signs_are_stored(
    signs: str,
    activation: int,
    weight: int,
    dense: Model,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """Zero points of activations and weights have the type that was asked for, and are right."""
    bench, x = bench_in("a"), inputs()
    done = Int8Static().apply(dense, {"signs": signs}, fitting_of(x), bench)
    graph = onnx.load(str(done.model.artifact.path)).graph
    kinds = {t.name: t.data_type for t in graph.initializer}
    asked = {kinds[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"}
    assert asked == {activation}
    assert {t.data_type for t in graph.initializer if len(t.dims) == 2} == {weight}
    assert error(answer(done.model, bench, x), answer(dense, bench, x)) < 0.03


def test_unknown_signs_are_refused(dense: Model, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """Signs that no kernel has are refused with those there are."""
    with pytest.raises(CandidateFailed, match="u8s8, u8u8, s8s8"):
        Int8Static().apply(dense, {"signs": "s8u8"}, fitting_of(inputs()), bench_in("a"))


def test_corrected_biases_take_back_the_mean_shift(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """With one scale per tensor and inputs of one sign, rounding shifts channels; biases undo it."""
    weight = weights(64, 32)
    weight[0, 0] = 20.0
    held = {"w": weight, "b": weights(32, seed=1)}
    model = load_graph(build_graph([("Gemm", ["x", "w", "b"], ["y"])], held, ("batch", 64)))
    bench, x = bench_in("a"), np.abs(inputs(128, 64)) + 0.5
    expected = answer(model, bench, x)
    shifts = {}
    for correct in (False, True):
        settings = {"per_channel": False, "bias_correction": correct}
        done = Int8Static().apply(model, settings, fitting_of(x), bench_in(str(correct)))
        shift = (answer(done.model, bench, x) - expected).mean(axis=0)
        shifts[correct] = float(np.abs(shift).mean())
    assert shifts[True] < 0.2 * shifts[False]
    assert "1 of 1 biases corrected" in done.changes[0].what


@pytest.mark.parametrize("technique", [Int8Static(), Int8Dynamic()], ids=lambda t: t.name)
def test_named_layers_stay_in_float(
    technique: Any, ruined: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Patterns of whole names choose layers; a pattern that matches nothing lists near names."""
    settings = {"keep_float": "/body/t*, /head"}
    done = technique.apply(ruined, settings, fitting_of(inputs()), bench_in("a"))
    assert done.changes[0].operators == 2
    assert "2 layers left in float" in done.changes[0].what
    graph = onnx.load(str(done.model.artifact.path)).graph
    floats = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    assert {"tiny", "w3"} <= floats
    with pytest.raises(CandidateFailed, match=r"`/body/tiyn` .* near names: .*`/body/tiny`"):
        technique.apply(ruined, {"keep_float": "/body/tiyn"}, fitting_of(inputs()), bench_in("b"))


def test_the_first_layer_that_goes_wrong_is_named(
    ruined: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Of four layers, the one whose input can't be rounded is told, with how far it falls."""
    done = Int8Static().apply(ruined, {}, fitting_of(inputs()), bench_in("a"))
    assert "the first layer that goes wrong is `/body/tiny`" in done.changes[0].warning


def test_the_knapsack_leaves_the_ruined_layer_in_float(
    ruined: Model, bench_in: BenchIn, fitting_of: FittingOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a twentieth of the time saved, the tiny layer that ruins everything stays in float.

    Everything is timed, and the choice is made from times as a quiet machine would give them: on one
    with other work, 1 % of a small graph's call is not to be told apart.
    """
    sizes: dict[str, int] = {}

    def layer_times(graph: Path, batch: Any, threads: int) -> dict[str, float]:
        timed = onnx_layer_times.layer_times(graph, batch, threads)
        held = onnx.load(graph).graph
        stored = {t.name: int(np.prod(t.dims)) for t in held.initializer}
        found = {n.name: stored.get(n.input[1], 0) for n in held.node if n.op_type == "MatMul"}
        in_float = min(found.values()) > 0  # In 8 bits weights come through another operator.
        sizes.update(found if in_float else {})
        assert sizes.keys() <= timed.keys()
        return {name: (4.0 if in_float else 1.0) * size for name, size in sizes.items()}

    def call_times(graphs: Sequence[Path], batch: Any, threads: int) -> tuple[float, ...]:
        assert min(onnx_layer_times.call_times(graphs, batch, threads)) > 0.0
        held = [onnx.load(graph).graph.initializer for graph in graphs]
        return tuple(float(sum(numpy_helper.to_array(t).nbytes for t in one)) for one in held)

    monkeypatch.setattr(onnx_spared, "layer_times", layer_times)
    monkeypatch.setattr(onnx_spared, "call_times", call_times)
    bench, x = bench_in("a"), inputs()
    plain = Int8Static().apply(ruined, {}, fitting_of(x), bench_in("b"))
    done = Int8Static().apply(ruined, {"fallback": 0.05}, fitting_of(x), bench)
    expected = answer(ruined, bench, x)
    assert "of the time saved, `/body/tiny`" in done.changes[0].what
    assert done.changes[0].operators >= 1
    graph = onnx.load(str(done.model.artifact.path)).graph
    eight = {n for t in graph.initializer if t.data_type == TensorProto.INT8 for n in [t.name]}
    assert "w2_quantized" in eight
    assert error(answer(done.model, bench, x), expected) < 0.2 * error(
        answer(plain.model, bench, x), expected
    )


@pytest.mark.parametrize("technique", [Int8Static(), Int8Dynamic()], ids=lambda t: t.name)
@pytest.mark.parametrize("vnni", [True, False])
def test_the_search_leaves_out_what_lost(technique: Any, dense: Model, vnni: bool) -> None:
    """What lost where it was measured is not tried by chance, and taken when it is asked for."""
    features = ("avx2", "avx512_vnni") if vnni else ("avx2",)
    device = dataclasses.replace(describe_device(), features=features)
    profile = Profile(device, ServingProfile(), (), (), 10.0, 0.02, 1000)
    space = technique.search_space(dense, profile)
    assert space["reduce_range"].values == ((False,) if vnni else (True, False))
    assert space["reduce_range"].default is not vnni
    assert space["smoothing"].values == (False,)
    assert space["smoothing"].others
    attentive = dense.with_traits(add=frozenset({"attention"}), remove=frozenset())
    smoothing = technique.search_space(attentive, profile)["smoothing"]
    # Ranges that follow each input make do without it at first.
    assert set(smoothing.values) == {True, False}
    assert smoothing.default is (technique.name == "int8_static")
    if technique.name == "int8_static":
        assert space["calibrator"].default == "minmax"
        assert not {"entropy", "percentile_99.9"} & {*space["calibrator"].values}
        assert space["calibrator"].others
        assert space["signs"].values == ("u8s8",)


def test_a_share_above_one_is_refused(
    dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A fallback that is no share is refused."""
    with pytest.raises(CandidateFailed, match="from 0 to 1; got 5"):
        Int8Static().apply(dense, {"fallback": 5}, fitting_of(inputs()), bench_in("a"))


def test_nan_rows_are_refused_by_every_way(
    dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A NaN among the calibration rows is refused with its row, also while smoothing."""
    x = inputs()
    x[9, 3] = np.nan
    for place, settings in enumerate(ALL.values()):
        with pytest.raises(CandidateFailed, match="NaN"):
            Int8Static().apply(dense, settings, fitting_of(x), bench_in(str(place)))


def test_weights_of_a_spared_layer_are_untouched(
    ruined: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A layer left in float keeps its weights bit for bit."""
    done = Int8Static().apply(ruined, {"keep_float": "/head"}, fitting_of(inputs()), bench_in("a"))
    graph = onnx.load(str(done.model.artifact.path)).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    np.testing.assert_array_equal(stored["w3"], weights(1500, 8, seed=7))


def test_what_is_tried_is_what_is_quantized(
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    tmp_path: Path,
) -> None:
    """Pooling hands on the range of what it reads: one of its own changes neither trial nor graph."""
    nodes = [
        ("Conv", ["x", "w1"], ["a"]),
        ("Relu", ["a"], ["b"]),
        ("MaxPool", ["b"], ["c"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", ["c", "w2"], ["d"]),
        ("GlobalAveragePool", ["d"], ["e"]),
        ("Flatten", ["e"], ["y"]),
    ]
    held = {"w1": weights(8, 3, 3, 3), "w2": weights(6, 8, 1, 1, seed=2)}
    model = load_graph(build_graph(nodes, held, ("batch", 3, 10, 10)))
    x = np.random.default_rng(0).normal(size=(8, 3, 10, 10)).astype(np.float32)
    rounding = Rounding(per_channel=True, reduce_range=True, operators=("Conv", "MaxPool", "Relu"))
    with on_the_bench(model, fitting_of(x), bench_in("a")) as piece:
        spans = find_ranges(piece, rounding.operators, "minmax", rounding).spans
        narrow = {**spans, "c": (0.0, 0.1 * spans["c"][1])}
        rows = list(piece.batches())
        trials = RangeTrials(quantize_static(piece.graph, spans, rounding), tmp_path / "t", "y")
        tried = trials.answers(rows, narrow)
        save_model(quantize_static(piece.graph, narrow, rounding), tmp_path / "q")
        built = float_answers(tmp_path / "q" / "model.onnx", rows, "y")
    assert error(tried, built) < 0.01


def test_tensors_that_do_not_fit_cost_no_whole_runs(
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the tensors of a batch are too many, rows are run apart: each is computed once."""
    nodes = [
        ("Conv", ["x", "w1"], ["a"]),
        ("Relu", ["a"], ["b"]),
        ("Conv", ["b", "w2"], ["c"]),
        ("GlobalAveragePool", ["c"], ["d"]),
        ("Flatten", ["d"], ["y"]),
    ]
    held = {"w1": weights(8, 3, 3, 3), "w2": weights(6, 8, 1, 1, seed=2)}
    model = load_graph(build_graph(nodes, held, ("batch", 3, 10, 10)))
    x = np.random.default_rng(0).normal(size=(32, 3, 10, 10)).astype(np.float32)
    rows_run: list[int] = []

    def counted(session: Any, names: Sequence[str], feed: dict[str, Any]) -> list[Any]:
        rows_run.append(len(feed["x"]))
        return run_session(session, names, feed)

    monkeypatch.setattr(onnx_taps, "run_session", counted)
    found = {}
    for place, (traits, memory) in enumerate(
        ((frozenset(), 1e9), (frozenset(), 6000), (frozenset({"batch-dependent"}), 6000))
    ):
        rows_run.clear()
        monkeypatch.setattr(onnx_taps, "MEMORY", memory)
        given = model.with_traits(add=traits, remove=frozenset())
        with on_the_bench(given, fitting_of(x), bench_in(str(place))) as shared:
            piece = dataclasses.replace(shared, marks=(place,))  # Else it would remember.
            rounding = Rounding(per_channel=True, reduce_range=True, operators=("Conv", "Relu"))
            spans = find_ranges(piece, rounding.operators, "minmax", rounding).spans
        found[place] = (spans, sum(rows_run), max(rows_run[8:], default=0))
    for name, span in found[0][0].items():
        assert found[1][0][name] == pytest.approx(span, rel=1e-5)
    # Of four batches the first is run tensor by tensor, to see how large they are.
    assert found[1][1] <= 24 + 8 * len(found[0][0])
    assert found[2][1] > found[1][1] + 24
    assert found[1][2] == 1
    assert found[2][2] == 8


def test_shares_are_tried_from_0_to_1(
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    tmp_path: Path,
) -> None:
    """The quantizer gives a softmax the range from 0 to 1, whatever it is told; so does a trial."""
    nodes = [
        ("MatMul", ["x", "w"], ["a"]),
        ("Softmax", ["a"], ["b"]),
        ("MatMul", ["b", "v"], ["y"]),
    ]
    model = load_graph(build_graph(nodes, {"w": weights(16, 8), "v": weights(8, 4, seed=2)}))
    operators = ("MatMul", "Softmax")
    rounding = Rounding(per_channel=True, reduce_range=True, operators=operators)
    with on_the_bench(model, fitting_of(inputs()), bench_in("a")) as piece:
        spans = find_ranges(piece, operators, "minmax", rounding).spans
        narrow = {**spans, "b": (0.0, 0.1)}
        rows, quantized = list(piece.batches()), quantize_static(piece.graph, narrow, rounding)
        fixed = fixed_ranges(piece.light, operators)
        tried = RangeTrials(quantized, tmp_path / "t", "y", fixed).answers(rows, narrow)
        save_model(quantized, tmp_path / "q")
        built = float_answers(tmp_path / "q" / "model.onnx", rows, "y")
    assert error(tried, built) < 0.05
    assert not fixed_ranges(piece.light, ("MatMul",))
