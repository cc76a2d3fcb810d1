"""Weights of ONNX graphs in 8 or 4 bits: sizes, answers, tables, excluded layers, bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.techniques.matmul_nbits import MatmulNbits
from jettison.worker.workbench import Bench

BenchIn = Callable[[str], Bench]
LoadGraph = Callable[[Path], Model]
FittingOf = Callable[..., FittingData]
WIDTH = 64


def weights(*shape: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    return values.astype(np.float32)


X = np.random.default_rng(1).normal(size=(12, WIDTH)).astype(np.float32)


def answer(model: Model, bench: Bench, batch: Array = X) -> Array:
    return np.asarray(bench.runner(model).run({"x": batch})[model.prediction])


def error(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture
def two_layers(build_graph: Any, load_graph: LoadGraph) -> Model:
    """A MatMul, and a Gemm whose matrix is stored the other way round."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        ("Tanh", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w2", "bias"], ["y"], name="head", transB=1),
    ]
    held = {"w1": weights(WIDTH, 96), "w2": weights(80, 96, seed=2), "bias": weights(80)}
    return load_graph(build_graph(nodes, held, ("batch", WIDTH)))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "within", "smaller"), [(8, 0.01, 3.0), (4, 0.2, 4.5)])
def test_bits(
    two_layers: Model,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    bits: int,
    within: float,
    smaller: float,
    symmetric: bool,
) -> None:
    """Fewer bits make a smaller file, with zero points or without; no row changes another."""
    bench = bench_in("a")
    settings = {"bits": bits, "symmetric": symmetric, "block_size": 32}
    done = MatmulNbits().apply(two_layers, settings, fitting_of(X), bench)
    assert done.changes[0].what.startswith(f"2 of 2 MatMul in {bits} bits, one scale for 32")
    assert done.changes[0].weights == WIDTH * 96 + 80 * 96
    assert done.model.artifact.size_bytes < two_layers.artifact.size_bytes / smaller
    assert {"float32", "standard-operators"}.isdisjoint(done.model.traits)
    together = answer(done.model, bench)
    assert error(together, answer(two_layers, bench)) < within
    alone = np.concatenate([answer(done.model, bench, X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_rounded_activations(two_layers: Model, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """The accuracy level is written into the graph, where the runtime reads it."""
    settings = {"accuracy_level": 4}
    done = MatmulNbits().apply(two_layers, settings, fitting_of(X), bench_in("a"))
    assert "activations rounded to 8 bits" in done.changes[0].what
    graph = onnx.load(str(done.model.artifact.path)).graph
    nodes = [n for n in graph.node if n.op_type == "MatMulNBits"]
    assert [a.i for n in nodes for a in n.attribute if a.name == "accuracy_level"] == [4, 4]


def test_spared_layers(two_layers: Model, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """Layers stay in float by name, by sensitivity, and not at all by a name that nothing has."""
    technique, fitting = MatmulNbits(), fitting_of(X)
    named = technique.apply(two_layers, {"keep_float": "he*"}, fitting, bench_in("named"))
    assert "left in float: head" in named.changes[0].what
    worst = technique.apply(two_layers, {"exclude_layers": 1}, fitting, bench_in("worst"))
    assert worst.changes[0].what.startswith("1 of 2 MatMul")
    with pytest.raises(CandidateFailed, match="`tail` of `keep_float` matches no layer"):
        technique.apply(two_layers, {"keep_float": "tail"}, fitting, bench_in("nothing"))
    with pytest.raises(NothingChanged, match="2 were excluded"):
        technique.apply(two_layers, {"keep_float": "first, head"}, fitting, bench_in("all"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bits": 3}, r"`bits` of `matmul_nbits` must be one of 4, 8; got 3"),
        ({"block_size": 48}, r"`block_size` .* must be one of 16, 32, 64, 128, 256; got 48"),
        ({"accuracy_level": 2}, r"`accuracy_level` .* must be one of 0, 1, 4; got 2"),
    ],
)
def test_settings_out_of_range(
    two_layers: Model,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    settings: dict[str, int],
    told: str,
) -> None:
    """A value that the operator doesn't have is refused with those that it has."""
    with pytest.raises(CandidateFailed, match=told):
        MatmulNbits().apply(two_layers, settings, fitting_of(X), bench_in("a"))


def test_nothing_to_pack(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A product of two activations, or of a stack of matrices, is refused with the reason."""
    nodes = [
        ("Reshape", ["x", "shape"], ["a"]),
        ("MatMul", ["a", "stack"], ["b"]),
        ("ReduceSum", ["b", "axes"], ["c"], {"keepdims": 0}),
        ("MatMul", ["c", "c"], ["y"]),
    ]
    held = {
        "shape": np.array([-1, 2, 8, 4]),
        "stack": weights(2, 4, 8),
        "axes": np.array([0, 1]),
    }
    model = load_graph(build_graph(nodes, held, ("batch", WIDTH)))
    with pytest.raises(NothingChanged, match=r"no matrix product .* has a constant float matrix"):
        MatmulNbits().apply(model, {}, fitting_of(X), bench_in("a"))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("symmetric", [True, False])
def test_weights_that_are_all_zero(
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    bits: int,
    symmetric: bool,
) -> None:
    """A layer of zeros, and one with equal columns, answer as before: no NaN from a scale of 0."""
    nodes = [
        ("MatMul", ["x", "zeros"], ["a"]),
        ("MatMul", ["x", "ones"], ["b"]),
        ("Add", ["a", "b"], ["y"]),
    ]
    held = {
        "zeros": np.zeros((WIDTH, 8), np.float32),
        "ones": np.ones((WIDTH, 8), np.float32),
    }
    model, bench = load_graph(build_graph(nodes, held, ("batch", WIDTH))), bench_in("a")
    settings = {"bits": bits, "symmetric": symmetric}
    done = MatmulNbits().apply(model, settings, fitting_of(X), bench)
    assert done.changes[0].what.startswith("2 of 2 MatMul")
    constant = np.full_like(X, 0.5)
    for batch in (X, constant):
        found, expected = (answer(m, bench, batch) for m in (done.model, model))
        np.testing.assert_allclose(found, expected, atol=2e-2 * np.abs(expected).max())


def test_tables(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A look-up table goes to 4 bits where that is asked for, and stays whole otherwise."""
    nodes = [
        ("Gather", ["table", "x"], ["a"]),
        ("ReduceMean", ["a"], ["b"], {"axes": [1], "keepdims": 0}),
        ("MatMul", ["b", "w"], ["y"]),
    ]
    held = {"table": weights(500, 64), "w": weights(64, 8)}
    path = build_graph(nodes, held, ("batch", "time"), kind=TensorProto.INT64)
    model, bench = load_graph(path), bench_in("a")
    ids = np.random.default_rng(0).integers(0, 500, (12, 7))
    whole = MatmulNbits().apply(model, {}, fitting_of(ids), bench)
    assert whole.changes[0].what.startswith("1 of 1 MatMul in 8 bits")
    settings = {"tables": True}
    done = MatmulNbits().apply(model, settings, fitting_of(ids), bench_in("b"))
    assert done.changes[0].what.startswith("1 of 1 Gather and 1 of 1 MatMul")
    assert done.model.artifact.size_bytes < model.artifact.size_bytes / 4
    assert error(answer(done.model, bench, ids), answer(model, bench, ids)) < 0.15


@pytest.mark.parametrize("kind", ["vector", "whole numbers"])
def test_tables_that_are_no_matrix_of_floats_stay(
    kind: str,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """Asked for tables, a look-up of one number for each word is left as it is."""
    nodes = [
        ("Gather", ["table", "x"], ["a"]),
        ("Gather", ["sizes", "x"], ["s"]),
        ("Cast", ["s"], ["f"], {"to": TensorProto.FLOAT}),
        ("Reshape", ["f", "column"], ["g"]),
        ("Mul", ["a", "g"], ["m"]),
        ("ReduceMean", ["m"], ["b"], {"axes": [1], "keepdims": 0}),
        ("MatMul", ["b", "w"], ["y"]),
    ]
    sizes = np.random.default_rng(1).integers(1, 5, 500)
    held = {
        "table": weights(500, 64),
        "sizes": sizes.astype(np.float32) if kind == "vector" else sizes.reshape(500, 1),
        "column": np.array([0, 0, 1]),
        "w": weights(64, 8),
    }
    path = build_graph(nodes, held, ("batch", "time"), kind=TensorProto.INT64)
    model, bench = load_graph(path), bench_in("a")
    ids = np.random.default_rng(0).integers(0, 500, (12, 7))
    done = MatmulNbits().apply(model, {"tables": True}, fitting_of(ids), bench)
    assert done.changes[0].what.startswith("1 of 1 Gather and 1 of 1 MatMul")
    assert error(answer(done.model, bench, ids), answer(model, bench, ids)) < 0.15


@pytest.mark.parametrize("bits", [8, 4])
def test_a_table_that_a_product_reads_as_well(
    bits: int, build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Look-up and product of one matrix are both packed, each with its own scales."""
    nodes = [
        ("Gather", ["table", "x"], ["a"]),
        ("MatMul", ["a", "table"], ["b"]),
        ("ReduceMean", ["b"], ["y"], {"axes": [1], "keepdims": 0}),
    ]
    path = build_graph(nodes, {"table": weights(64, 64)}, ("batch", "time"), kind=TensorProto.INT64)
    model, bench = load_graph(path), bench_in("a")
    ids = np.random.default_rng(0).integers(0, 64, (12, 7))
    settings = {"tables": True, "bits": bits}
    done = MatmulNbits().apply(model, settings, fitting_of(ids), bench)
    assert done.changes[0].what.startswith("1 of 1 Gather and 1 of 1 MatMul")
    assert error(answer(done.model, bench, ids), answer(model, bench, ids)) < 0.2
