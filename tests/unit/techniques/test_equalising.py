"""Cross-layer equalisation and activation smoothing: the answers stay, and int8 loses less."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs import onnx_smooth, onnx_smooth_piece
from jettison.graphs.onnx_smooth_piece import smoothed_if
from jettison.graphs.onnx_workpiece import on_the_bench
from jettison.numerics.smoothing import best_alpha
from jettison.techniques.activation_smoothing import ActivationSmoothing
from jettison.techniques.cross_layer_equalization import CrossLayerEqualization
from jettison.techniques.int8_static import Int8Static
from jettison.worker.workbench import Bench

BenchIn = Callable[[str], Bench]
LoadGraph = Callable[[Path], Model]
FittingOf = Callable[..., FittingData]
RNG = np.random.default_rng(0)
PICTURES = RNG.normal(size=(24, 3, 8, 8)).astype(np.float32)
TOKENS = RNG.normal(size=(24, 5, 16)).astype(np.float32)


def answer(model: Model, bench: Bench, batch: Array) -> Array:
    return np.asarray(bench.runner(model).run({"x": batch})[model.prediction])


def error(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def drawn(*shape: int, seed: int) -> Array:
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def uneven(build_graph: Any, nodes: list[Any], head: Array) -> Path:
    """Conv, BatchNorm and ReLU whose channels differ by up to 10,000, and what reads them."""
    scales = np.logspace(-2, 2, 12).astype(np.float32)
    held = {
        "w1": drawn(12, 3, 3, 3, seed=1),
        "gamma": scales,
        "beta": 0.1 * scales,
        "mean": drawn(12, seed=2),
        "var": np.ones(12, np.float32),
        "w2": head,
        "flat": np.array([0, -1], np.int64),
    }
    first = [
        ("Conv", ["x", "w1"], ["a"], {"pads": [1, 1, 1, 1]}),
        ("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["b"]),
        ("Relu", ["b"], ["c"]),
    ]
    return build_graph([*first, *nodes], held, ("batch", 3, 8, 8), rank=2)  # type: ignore[no-any-return]


def reader(kind: str) -> tuple[list[Any], Array]:
    """What reads 12 uneven channels, with weights that undo the unevenness."""
    undo = np.logspace(2, -2, 12)
    pool = ("GlobalAveragePool", ["d"], ["e"])
    flat = ("Flatten", ["e"], ["y"])
    if kind == "convolution":
        weight = drawn(6, 12, 3, 3, seed=3) * undo[None, :, None, None]
        return [("Conv", ["c", "w2"], ["d"]), pool, flat], weight.astype(np.float32)
    if kind == "depthwise":
        weight = drawn(12, 1, 3, 3, seed=3) * undo[:, None, None, None]
        nodes = [("Conv", ["c", "w2"], ["d"], {"group": 12}), pool, flat]
        return nodes, weight.astype(np.float32)
    if kind == "pooled":
        weight = drawn(12, 6, seed=3) * undo[:, None]
        nodes = [
            ("MaxPool", ["c"], ["d"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
            pool,
            ("Flatten", ["e"], ["f"]),
            ("MatMul", ["f", "w2"], ["y"]),
        ]
        return nodes, weight.astype(np.float32)
    weight = drawn(12 * 64, 6, seed=3) * np.repeat(undo, 64)[:, None]
    nodes = [("Reshape", ["c", "flat"], ["f"]), ("MatMul", ["f", "w2"], ["y"])]
    return nodes, weight.astype(np.float32)


@pytest.mark.parametrize("kind", ["convolution", "depthwise", "pooled", "flattened"])
def test_equalised_channels_survive_one_scale_per_tensor(
    kind: str, build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """With one scale per tensor, int8 of uneven channels is useless before and good after."""
    nodes, weight = reader(kind)
    model, bench = load_graph(uneven(build_graph, nodes, weight)), bench_in("a")
    fitting = fitting_of(PICTURES)
    even = CrossLayerEqualization().apply(model, {}, fitting, bench)
    expected = answer(model, bench, PICTURES)
    np.testing.assert_allclose(
        answer(even.model, bench, PICTURES), expected, atol=1e-4 * np.abs(expected).max()
    )
    assert even.changes[0].what.startswith("1 pairs of layers equalised")
    assert even.model.traits == model.traits
    found = {}
    for name, start in (("plain", model), ("even", even.model)):
        done = Int8Static().apply(start, {"per_channel": False}, fitting, bench_in(name))
        found[name] = error(answer(done.model, bench, PICTURES), expected)
    assert found["plain"] > 0.1
    assert found["even"] < 0.25 * found["plain"]


@pytest.mark.parametrize("between", ["Sigmoid", "residual", "Clip"])
def test_what_bends_or_branches_is_left_alone(
    between: str, build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Scales can't pass a sigmoid or the bound of a ReLU6, nor a value that two layers read."""
    nodes: list[Any] = [("Conv", ["d", "w2"], ["e"]), ("GlobalAveragePool", ["e"], ["f"])]
    nodes.append(("Flatten", ["f"], ["y"]))
    weight = drawn(12, 12, 1, 1, seed=3)
    if between == "Sigmoid":
        nodes = [("Sigmoid", ["c"], ["d"]), *nodes]
    elif between == "Clip":
        nodes = [("Clip", ["c", "low", "high"], ["d"]), *nodes]
    else:
        nodes = [("Identity", ["c"], ["d"]), nodes[0], ("Add", ["e", "c"], ["g"])]
        nodes += [("GlobalAveragePool", ["g"], ["f"]), ("Flatten", ["f"], ["y"])]
    path = uneven(build_graph, nodes, weight)
    if between == "Clip":
        graph = onnx.load(path)
        for name, value in (("low", 0.0), ("high", 6.0)):
            graph.graph.initializer.append(
                onnx.numpy_helper.from_array(np.float32(value).reshape(()), name)
            )
        onnx.save(graph, path)
    with pytest.raises(NothingChanged, match="nothing to equalise"):
        CrossLayerEqualization().apply(load_graph(path), {}, fitting_of(PICTURES), bench_in("a"))


def normed(build_graph: Any, *, residual: bool) -> Path:
    """LayerNorm with one channel 60 times the others, and the products that read it."""
    gamma = np.where(np.arange(16) == 7, 60.0, 1.0).astype(np.float32)
    held = {
        "gamma": gamma,
        "beta": drawn(16, seed=5) * gamma,
        "w1": drawn(16, 12, seed=6) / gamma[:, None],
        "w2": drawn(16, 12, seed=7) / gamma[:, None],
        "w3": drawn(16, 12, seed=8) / gamma[:, None] / 8,
    }
    nodes: list[Any] = [
        ("LayerNormalization", ["x", "gamma", "beta"], ["h"]),
        ("MatMul", ["h", "w1"], ["a"]),
        ("MatMul", ["h", "w2"], ["b"]),
    ]
    if residual:
        nodes += [("Mul", ["a", "b"], ["c"]), ("ReduceMean", ["h"], ["m"], {"axes": [2]})]
        nodes.append(("Add", ["c", "m"], ["y"]))
    else:
        nodes.append(("Mul", ["a", "b"], ["y"]))
    return build_graph(nodes, held, ("batch", 5, 16), rank=3)  # type: ignore[no-any-return]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("settings", [{}, {"strength": "given", "alpha": 0.9}], ids=str)
def test_smoothing_keeps_answers_and_makes_int8_exact(
    residual: bool,
    settings: dict[str, Any],
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """Scales go into the norm, or into a multiplication where something else reads its answer."""
    model, bench = load_graph(normed(build_graph, residual=residual)), bench_in("a")
    fitting = fitting_of(TOKENS)
    even = ActivationSmoothing().apply(model, settings, fitting, bench)
    expected = answer(model, bench, TOKENS)
    np.testing.assert_allclose(
        answer(even.model, bench, TOKENS), expected, atol=1e-4 * np.abs(expected).max()
    )
    where = "1 by a multiplication of their own" if residual else "1 folded into the norm before"
    assert where in even.changes[0].what
    added = [n for n in onnx.load(str(even.model.artifact.path)).graph.node if n.op_type == "Mul"]
    assert len(added) == (2 if residual else 1)
    found = {}
    for name, start in (("plain", model), ("even", even.model)):
        done = Int8Static().apply(start, {}, fitting, bench_in(name))
        found[name] = error(answer(done.model, bench, TOKENS), expected)
    assert found["even"] < 0.5 * found["plain"]


def test_only_norms_may_be_asked_for(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """With `places = norms` nothing is multiplied, and a graph without such a norm says so."""
    model = load_graph(normed(build_graph, residual=True))
    with pytest.raises(NothingChanged, match="no norm of this graph is read by products alone"):
        ActivationSmoothing().apply(model, {"places": "norms"}, fitting_of(TOKENS), bench_in("a"))


def test_even_activations_are_left_alone(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Where no scale helps, nothing is changed, and it is said."""
    x = np.clip(TOKENS, -1, 1)
    signs = np.sign(drawn(16, 12, seed=6)).astype(np.float32)
    path = build_graph([("MatMul", ["x", "w"], ["y"])], {"w": signs}, ("batch", 5, 16), rank=3)
    with pytest.raises(NothingChanged, match="no scale makes the products of 1 activations"):
        ActivationSmoothing().apply(load_graph(path), {}, fitting_of(x), bench_in("a"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"places": "everywhere"}, "must be one of all, norms"),
        ({"strength": "given", "alpha": 1.5}, "from 0 to 1; got 1.5"),
    ],
)
def test_settings_that_there_are_not(
    settings: dict[str, Any],
    message: str,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A place or a strength that makes no sense is refused."""
    model = load_graph(normed(build_graph, residual=False))
    with pytest.raises(CandidateFailed, match=message):
        ActivationSmoothing().apply(model, settings, fitting_of(TOKENS), bench_in("a"))


@pytest.mark.parametrize(("whole", "strengths"), [(True, (None, 0.7, 0.85)), (False, ())])
def test_one_strength_for_all_is_compared_where_ranges_are_whole(
    whole: bool,
    strengths: tuple[float | None, ...],
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """The strength with the least error on held-out rows is taken, found once and remembered."""
    model, bench = load_graph(normed(build_graph, residual=False)), bench_in("a")
    with on_the_bench(model, fitting_of(TOKENS), bench) as piece:
        smoothed, told = smoothed_if(piece, wanted=True, whole_range=whole)
        again, same = smoothed_if(piece, wanted=True, whole_range=whole)
    kept = [json.loads(path.read_text()) for path in bench.cache.glob("alpha-*")]
    assert len(kept) == bool(strengths)
    assert all(one in strengths for one in kept)
    assert (told, again.marks) == (same, smoothed.marks)
    assert smoothed.marks != piece.marks


def test_own_strengths_are_found_once(
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are compared, and then taken: finding them takes seconds on a transformer."""
    found: list[float | None] = []

    def counted(*given: Any) -> float | None:
        found.append(best_alpha(*given))
        return found[-1]

    monkeypatch.setattr(onnx_smooth, "best_alpha", counted)
    monkeypatch.setattr(onnx_smooth_piece, "ONE_FOR_ALL", ())
    model = load_graph(normed(build_graph, residual=False))
    with on_the_bench(model, fitting_of(TOKENS), bench_in("a")) as piece:
        told = smoothed_if(piece, wanted=True, whole_range=True)[1]
    assert len(found) == 1
    assert f"alpha {found[0]:g} " in told


def test_a_product_over_another_axis_is_left_alone(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """As many columns as channels: a product of columns does not read channels."""
    nodes = [("Conv", ["x", "w1"], ["a"]), ("Relu", ["a"], ["b"]), ("MatMul", ["b", "w2"], ["y"])]
    uneven_first = drawn(6, 3, 3, 3, seed=1) * np.logspace(-2, 2, 6)[:, None, None, None]
    held = {"w1": uneven_first.astype(np.float32), "w2": drawn(6, 4, seed=3)}
    model = load_graph(build_graph(nodes, held, ("batch", 3, 8, 8), rank=4))
    with pytest.raises(NothingChanged, match="nothing to equalise"):
        CrossLayerEqualization().apply(model, {}, fitting_of(PICTURES), bench_in("a"))


def test_no_rows_to_compare_on(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Without a row nothing shows that the answers stay: said, not a failure inside."""
    model = load_graph(uneven(build_graph, *reader("convolution")))
    with pytest.raises(CandidateFailed, match="without a fitting row"):
        CrossLayerEqualization().apply(model, {}, fitting_of(PICTURES[:0]), bench_in("a"))
