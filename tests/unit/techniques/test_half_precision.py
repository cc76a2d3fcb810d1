"""Half precision: half the bytes, and values that 16 bits can't hold stay in 32."""

from __future__ import annotations

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
from jettison.graphs import onnx_prepare, onnx_storage
from jettison.techniques.half_precision import HalfPrecision
from jettison.testing import contracts
from jettison.worker.workbench import Bench

BenchIn = Callable[[str], Bench]
LoadGraph = Callable[[Path], Model]
FittingOf = Callable[..., FittingData]
HALF = HalfPrecision()


def weights(*shape: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    return values.astype(np.float32)


def inputs(n: int = 12) -> Array:
    return np.random.default_rng(1).normal(size=(n, 16)).astype(np.float32)


def answer(model: Model, bench: Bench, batch: Array) -> Array:
    return np.asarray(bench.runner(model).run({"x": batch})["y"])


@pytest.fixture
def dense(build_graph: Any, load_graph: LoadGraph) -> Model:
    nodes = [("MatMul", ["x", "w1"], ["a"]), ("Relu", ["a"], ["b"]), ("MatMul", ["b", "w2"], ["y"])]
    return load_graph(build_graph(nodes, {"w1": weights(16, 128), "w2": weights(128, 64)}))


def test_half_the_bytes(dense: Model, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """Weights take half the bytes; inputs and outputs stay 32-bit; answers stay close."""
    bench, x = bench_in("a"), inputs()
    applied = HALF.apply(dense, {}, fitting_of(x), bench)
    assert applied.model.traits == dense.traits - {"float32"} | {"float16"}
    assert applied.changes[0].weights == 16 * 128 + 128 * 64
    assert applied.model.artifact.size_bytes < 0.55 * dense.artifact.size_bytes
    found = answer(applied.model, bench, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, answer(dense, bench, x), atol=0.01)


def test_keeps_the_contract(dense: Model, fitting_of: FittingOf, tmp_path: Path) -> None:
    """Through workers: the input stays, bytes repeat, traits and reloaded answers hold."""
    contracts.check_technique(
        "half_precision", dense, fitting_of(inputs()), tmp_path / "contract", settings={}
    )


def test_large_weights_stay(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """An operator whose weights exceed 65,504 stays in 32 bits and is counted."""
    huge = weights(128, 16) * 1e6
    nodes = [
        ("MatMul", ["x", "w"], ["a"]),
        ("Tanh", ["a"], ["b"]),
        ("MatMul", ["b", "huge"], ["y"]),
    ]
    model = load_graph(build_graph(nodes, {"w": weights(16, 128), "huge": huge}))
    bench, x = bench_in("a"), inputs()
    applied = HALF.apply(model, {}, fitting_of(x), bench)
    assert "1 operators with values beyond 65,504 stay 32-bit" in applied.changes[0].what
    assert applied.changes[0].weights == 16 * 128
    expected = answer(model, bench, x)
    np.testing.assert_allclose(answer(applied.model, bench, x), expected, rtol=0.02, atol=5e3)


def test_large_activations_stay(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A chain of operators with values beyond 65,504 between them never goes through 16 bits."""
    nodes = [
        ("MatMul", ["x", "w"], ["a"]),
        ("Mul", ["a", "scale"], ["b"]),
        ("Mul", ["b", "b"], ["c"]),
        ("Sqrt", ["c"], ["d"]),
        ("Div", ["d", "scale"], ["e"]),
        ("MatMul", ["e", "v"], ["y"]),
    ]
    held = {"w": weights(16, 64), "scale": np.full(64, 5e3, np.float32), "v": weights(64, 64)}
    model, bench, x = load_graph(build_graph(nodes, held)), bench_in("a"), inputs()
    applied = HALF.apply(model, {}, fitting_of(x), bench)
    found = answer(applied.model, bench, x)
    np.testing.assert_allclose(found, answer(model, bench, x), atol=0.02)
    graph = onnx.load(str(applied.model.artifact.path)).graph
    onnx.checker.check_model(onnx.load(str(applied.model.artifact.path)))
    kinds = {t.data_type for t in graph.initializer if np.prod(t.dims) > 64}
    assert kinds == {onnx.TensorProto.FLOAT16}


def test_weights_beside_the_graph(
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights in a file of their own go from file to file, and become what they become in memory.

    One of them stays in 32 bits, and one holds whole numbers.
    """
    nodes = [
        ("MatMul", ["x", "w"], ["a"]),
        ("Gather", ["a", "places"], ["b"], {"axis": 1}),
        ("MatMul", ["b", "v"], ["c"]),
        ("Tanh", ["c"], ["d"]),
        ("MatMul", ["d", "huge"], ["y"]),
    ]
    small = weights(16, 128)
    small[0, :4] = [1e-9, -1e-9, 0.0, 3e-8]
    held = {"w": small, "v": weights(150, 64), "huge": weights(64, 16) * 1e6}
    held["places"] = np.random.default_rng(3).integers(0, 128, 150)
    path, rows = build_graph(nodes, held), fitting_of(inputs())
    whole = HALF.apply(load_graph(path), {}, rows, bench_in("whole"))
    for module in (onnx_prepare, onnx_storage):
        monkeypatch.setattr(module, "INLINE_LIMIT", 1000)
    path = path.rename(path.with_name("beside.onnx"))
    model = load_graph(path)
    apart = HALF.apply(model, {}, rows, bench_in("apart"))
    again = HALF.apply(model, {}, rows, bench_in("again"))
    assert model.artifact.files == apart.model.artifact.files == ("model.onnx", "model.onnx.data")
    assert again.model.artifact.digest == apart.model.artifact.digest
    assert apart.changes[0].weights == whole.changes[0].weights == 16 * 128 + 150 * 64
    assert stored(apart.model) == stored(whole.model)
    bench, x = bench_in("run"), inputs()
    np.testing.assert_array_equal(answer(apart.model, bench, x), answer(whole.model, bench, x))


def stored(model: Model) -> dict[str, tuple[int, bytes]]:
    """Type and bytes of every weight."""
    graph = onnx.load(str(model.artifact.path)).graph
    return {
        tensor.name: (tensor.data_type, onnx.numpy_helper.to_array(tensor).tobytes())
        for tensor in graph.initializer
    }


def test_nothing_fits(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A graph whose only weights exceed 16 bits is an error, not a silent copy."""
    nodes = [("MatMul", ["x", "w"], ["y"])]
    model = load_graph(build_graph(nodes, {"w": weights(16, 128) * 1e7}))
    with pytest.raises(NothingChanged, match="no weight became a 16-bit float"):
        HALF.apply(model, {}, fitting_of(inputs()), bench_in("a"))


def test_nan_after_conversion(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """An answer that is no number is refused, with the output's name."""
    nodes = [("MatMul", ["x", "w"], ["a"]), ("Relu", ["a"], ["b"]), ("Div", ["b", "b"], ["y"])]
    model = load_graph(build_graph(nodes, {"w": weights(16, 128)}))
    with pytest.raises(CandidateFailed, match="`y` is NaN for a fitting row"):
        HALF.apply(model, {}, fitting_of(inputs()), bench_in("a"))


def test_speech_network(
    shared_data: Path, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Convolutions, transposes and a GRU: a graph that killed the runtime when converted whole."""
    model = load_graph(shared_data / "speech" / "fsdd-digits-ctc.onnx")
    x = np.random.default_rng(0).normal(size=(4, 50, 40)).astype(np.float32)
    bench = bench_in("a")
    applied = HALF.apply(model, {}, fitting_of(x, "logmel"), bench)
    assert applied.model.artifact.size_bytes < 0.55 * model.artifact.size_bytes
    before = bench.runner(model).run({"logmel": x})["logprobs"]
    after = bench.runner(applied.model).run({"logmel": x})["logprobs"]
    np.testing.assert_allclose(after, before, atol=0.05)


def test_large_inputs_stay(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """An input beyond 65,504 that the first operator makes small never goes through 16 bits.

    The kernel of this operator computes in 16 bits on any CPU; others are given 32 bits.
    """
    nodes = [("LayerNormalization", ["x", "gamma"], ["a"]), ("MatMul", ["a", "w"], ["y"])]
    held = {"gamma": np.ones(16, np.float32), "w": weights(16, 128)}
    model, bench, x = load_graph(build_graph(nodes, held)), bench_in("a"), inputs() * 1e6
    applied = HALF.apply(model, {}, fitting_of(x), bench)
    assert applied.changes[0].weights == 16 * 128
    np.testing.assert_allclose(answer(applied.model, bench, x), answer(model, bench, x), atol=0.01)
