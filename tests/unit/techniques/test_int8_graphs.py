"""Static and dynamic int8 on branches, tables, hard layers, and two real networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.extension_points import Applied
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import NothingChanged
from jettison.techniques.int8_dynamic import Int8Dynamic
from jettison.techniques.int8_static import Int8Static
from jettison.worker.workbench import Bench

BenchIn = Callable[[str], Bench]
LoadGraph = Callable[[Path], Model]
FittingOf = Callable[..., FittingData]
BOTH = pytest.mark.parametrize("technique", [Int8Static(), Int8Dynamic()], ids=lambda t: t.name)


def weights(*shape: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    return values.astype(np.float32)


def inputs(n: int = 24, width: int = 16, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def answer(model: Model, bench: Bench, batch: Array, name: str = "x") -> Array:
    return np.asarray(bench.runner(model).run({name: batch})[model.prediction])


def error(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def branching(build_graph: Any, load_graph: LoadGraph) -> Model:
    """Both products lie inside the branches of an `If` that the input decides."""

    def branch(name: str, seed: int) -> Any:
        tensor = numpy_helper.from_array(weights(16, 8, seed=seed), f"w_{name}")
        node = helper.make_node("MatMul", ["x", f"w_{name}"], [f"y_{name}"], name=name)
        out = helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [out], [tensor])

    nodes = [
        ("ReduceSum", ["x"], ["sum"], {"keepdims": 0}),
        ("Greater", ["sum", "zero"], ["flag"]),
        ("If", ["flag"], ["y"], {"then_branch": branch("p", 3), "else_branch": branch("n", 4)}),
    ]
    return load_graph(build_graph(nodes, {"zero": np.zeros((), dtype=np.float32)}))


def test_branches(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Dynamic int8 reaches into branches; static int8 says why it can't."""
    model, bench, x = branching(build_graph, load_graph), bench_in("a"), inputs()
    with pytest.raises(NothingChanged, match="inside `If` branches"):
        Int8Static().apply(model, {}, fitting_of(x), bench_in("static"))
    done = Int8Dynamic().apply(model, {}, fitting_of(x), bench)
    assert "2 of 2 MatMul" in done.changes[0].what
    for batch in (x, -x):
        assert error(answer(done.model, bench, batch), answer(model, bench, batch)) < 0.03


def test_a_product_in_the_middle_of_a_branch(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Dynamic int8 of a product whose result stays inside its branch loads and answers well.

    openWakeWord's hey_jarvis is such a graph: no type of the result is written in it.
    """

    def branch(name: str, seed: int) -> Any:
        tensor = numpy_helper.from_array(weights(16, 8, seed=seed), f"w_{name}")
        nodes = [
            helper.make_node("MatMul", ["x", f"w_{name}"], [f"h_{name}"], name=name),
            helper.make_node("Relu", [f"h_{name}"], [f"y_{name}"], name=f"relu_{name}"),
        ]
        out = helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, None)
        return helper.make_graph(nodes, name, [], [out], [tensor])

    nodes = [
        ("ReduceSum", ["x"], ["sum"], {"keepdims": 0}),
        ("Greater", ["sum", "zero"], ["flag"]),
        ("If", ["flag"], ["y"], {"then_branch": branch("p", 3), "else_branch": branch("n", 4)}),
    ]
    model = load_graph(build_graph(nodes, {"zero": np.zeros((), dtype=np.float32)}))
    bench, x = bench_in("a"), inputs()
    done = Int8Dynamic().apply(model, {}, fitting_of(x), bench)
    assert "2 of 2 MatMul" in done.changes[0].what
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.03


def test_transposed_convolutions_alone(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A graph whose only weights are theirs is not refused, and they get 8 bits by default."""
    nodes = [
        ("ConvTranspose", ["x", "w", "b"], ["h"], {"strides": [2, 2]}),
        ("Relu", ["h"], ["r"]),
        ("GlobalAveragePool", ["r"], ["p"]),
        ("Flatten", ["p"], ["y"]),
    ]
    held = {"w": weights(4, 8, 3, 3), "b": weights(8, seed=2)}
    model = load_graph(build_graph(nodes, held, ("batch", 4, 6, 6)))
    x = np.random.default_rng(1).normal(size=(24, 4, 6, 6)).astype(np.float32)
    bench = bench_in("a")
    done = Int8Static().apply(model, {}, fitting_of(x), bench)
    assert "1 of 1 ConvTranspose" in done.changes[0].what
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.03


@pytest.mark.parametrize("technique", [Int8Static(), Int8Dynamic()], ids=lambda t: t.name)
def test_a_shape_that_is_listed_as_an_input(
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    technique: Int8Static | Int8Dynamic,
) -> None:
    """A stored shape that folding takes away does not become an input that nobody can fill.

    Old exporters list every stored tensor among the inputs, as the light test graphs of the
    package `onnx` do.
    """
    nodes = [
        ("ConstantOfShape", ["shape"], ["bias"]),
        ("MatMul", ["x", "w"], ["h"]),
        ("Add", ["h", "bias"], ["y"]),
    ]
    path = build_graph(nodes, {"w": weights(16, 8), "shape": np.array([8], dtype=np.int64)})
    listed = onnx.load(path)
    listed.graph.input.append(helper.make_tensor_value_info("shape", TensorProto.INT64, [1]))
    onnx.save(listed, path)
    model, bench, x = load_graph(path), bench_in("a"), inputs()
    done = technique.apply(model, {}, fitting_of(x), bench)
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.03


def test_embedding_table_is_stored_in_8_bits(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Dynamic int8 stores look-up tables in 8 bits, and never spares the one that is the size."""
    nodes = [
        ("Gather", ["table", "x"], ["a"]),
        ("ReduceMean", ["a"], ["b"], {"axes": [1], "keepdims": 0}),
        ("MatMul", ["b", "w"], ["y"]),
    ]
    held = {"table": weights(500, 32), "w": weights(32, 8)}
    path = build_graph(nodes, held, ("batch", "time"), kind=TensorProto.INT64)
    model, bench = load_graph(path), bench_in("a")
    ids = np.random.default_rng(0).integers(0, 500, (12, 7))
    done = Int8Dynamic().apply(model, {}, fitting_of(ids), bench)
    assert done.changes[0].what.startswith("1 of 1 Gather and 1 of 1 MatMul to int8")
    assert done.model.artifact.size_bytes < model.artifact.size_bytes / 3
    assert error(answer(done.model, bench, ids), answer(model, bench, ids)) < 0.03
    spared = Int8Dynamic().apply(model, {"exclude_layers": 1}, fitting_of(ids), bench_in("b"))
    assert spared.changes[0].what.startswith("1 of 1 Gather and 0 of 1 MatMul to int8")


def test_most_sensitive_layer_is_spared(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """The layer whose activations hold an outlier stays in float, and the error falls."""
    scale = np.ones(16, dtype=np.float32)
    scale[0] = 300.0
    hard = weights(16, 16)
    hard[0] = 0.01
    nodes = [
        ("MatMul", ["x", "w1"], ["a"]),
        ("Tanh", ["a"], ["b"]),
        ("Mul", ["b", "scale"], ["c"]),
        helper.make_node("MatMul", ["c", "hard"], ["d"], name="hard"),
        ("Tanh", ["d"], ["e"]),
        ("MatMul", ["e", "w2"], ["y"]),
    ]
    held = {"w1": weights(16, 16, seed=8), "scale": scale, "hard": hard, "w2": weights(16, 4)}
    model, bench, x = load_graph(build_graph(nodes, held)), bench_in("a"), inputs()
    expected = answer(model, bench, x)
    for technique in (Int8Static(), Int8Dynamic()):
        errors = []
        for count in (0, 1):
            settings = {"exclude_layers": count, "operators": "matmul"}
            done = technique.apply(
                model, settings, fitting_of(x), bench_in(f"{technique.name}{count}")
            )
            errors.append(error(answer(done.model, bench, x), expected))
        assert errors[1] < errors[0] / 3
        graph = onnx.load(str(done.model.artifact.path)).graph
        kept = next(node for node in graph.node if node.name == "hard")
        assert kept.input[1] == "hard"


def test_digits_network(
    shared_data: Path, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """A real network of operator set 8 with a batch of exactly one is raised and quantized."""
    model = load_graph(shared_data / "models" / "mnist-cnn-cntk.onnx")
    assert "fixed-batch" in model.traits
    rng = np.random.default_rng(0)
    images = (rng.random((20, 1, 28, 28)) < 0.2).astype(np.float32) * 255
    bench = bench_in("a")
    applied: Applied = Int8Static().apply(model, {}, fitting_of(images, "Input3"), bench)
    assert applied.changes[0].what.startswith("2 of 2 Conv and 1 of 1 Gemm to int8")
    expected = answer(model, bench, images, "Input3")
    assert error(answer(applied.model, bench, images, "Input3"), expected) < 0.05
    assert applied.model.artifact.size_bytes < model.artifact.size_bytes / 2


def test_magika(load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """Google's file-type network: nearly all labels stay, at less than a third of the bytes."""
    magika = pytest.importorskip("magika", reason="NO MAGIKA: pip install 'jettison[demo]'")
    root = Path(magika.__file__).parent
    model = load_graph(root / "models" / "standard_v3_3" / "model.onnx")
    sources = sorted(Path(np.__file__).parent.glob("**/*.py*"))[:400:5]
    features = np.array([magika_features(path.read_bytes()) for path in sources], dtype=np.int32)
    bench = bench_in("a")
    applied = Int8Static().apply(
        model, {"reduce_range": True}, fitting_of(features[::4], "bytes"), bench
    )
    assert applied.changes[0].what.startswith("1 of 1 Conv, 1 of 1 Gemm and 1 of 1 MatMul")
    assert applied.model.artifact.size_bytes < model.artifact.size_bytes / 3
    expected = answer(model, bench, features, "bytes").argmax(axis=1)
    found = answer(applied.model, bench, features, "bytes").argmax(axis=1)
    assert np.mean(found == expected) >= 0.95


def magika_features(content: bytes) -> list[int]:
    head, tail = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    return [*head, *[256] * (1024 - len(head)), *[256] * (1024 - len(tail)), *tail]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [8, 16])
def test_tied_weights(
    width: int,
    bias: bool,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """Weights that a second layer reads transposed have scales for the channels of each."""
    held = {"w": weights(16, width) * np.logspace(-1, 1, width).astype(np.float32)}
    first, second = ["x", "w"], ["b", "w"]
    if bias:
        held |= {"p": weights(width), "q": weights(16)}
        first, second = [*first, "p"], [*second, "q"]
    nodes = [
        ("Gemm", first, ["a"]),
        ("Tanh", ["a"], ["b"]),
        ("Gemm", second, ["y"], {"transB": 1}),
    ]
    model, bench, x = load_graph(build_graph(nodes, held)), bench_in("a"), inputs()
    settings = {"per_channel": True, "reduce_range": True}
    done = Int8Static().apply(model, settings, fitting_of(x), bench)
    assert done.changes[0].what.startswith("2 of 2 Gemm to int8")
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.05


def test_a_bias_that_layers_share(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Its copies take no name of another tensor, as those of the quantizer do (found in basic-pitch)."""
    held = {"v": weights(16, 16), "w": weights(16, 8), "b": weights(16)}
    nodes = [
        ("Gemm", ["x", "v", "b"], ["b0"]),
        ("Neg", ["b0"], ["b1"]),
        ("Gemm", ["b1", "v", "b"], ["b2"]),
        ("MatMul", ["b2", "w"], ["y"]),
    ]
    model, bench, x = load_graph(build_graph(nodes, held)), bench_in("a"), inputs()
    done = Int8Static().apply(model, {"reduce_range": True}, fitting_of(x), bench)
    assert "2 of 2 Gemm" in done.changes[0].what
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.05


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("x_scale", False),
        ("x_scale", True),
        ("x_zero_point", False),
        ("v_scale", False),
        ("v_quantized", True),
        ("a_quantized", False),
        ("c_scale", False),
    ],
)
@BOTH
def test_names_that_the_quantizer_would_take(
    technique: Int8Static | Int8Dynamic,
    name: str,
    listed: bool,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A tensor that has the name of a scale already is none: answers would be 50 times their size off.

    Old graphs list their weights as inputs, too.
    """
    held = {"v": weights(16, 16), "w": weights(16, 8), name: weights(16)}
    nodes = [
        ("MatMul", ["x", "v"], ["a"]),
        ("Mul", ["a", name], ["c"]),
        ("MatMul", ["c", "w"], ["y"]),
    ]
    path = build_graph(nodes, held)
    if listed:
        graph = onnx.load(path)
        for one, values in held.items():
            value = helper.make_tensor_value_info(one, TensorProto.FLOAT, values.shape)
            graph.graph.input.append(value)
        onnx.save(graph, path)
    model, bench, x = load_graph(path), bench_in("a"), inputs()
    done = technique.apply(model, {"reduce_range": True}, fitting_of(x), bench)
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.05


@pytest.mark.parametrize("correct", [True, False])
def test_factors_of_a_gemm(
    correct: bool,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """`alpha` and `beta` count in 8 bits as well, also where the bias is corrected."""
    nodes = [("Gemm", ["x", "w", "b"], ["y"], {"alpha": 0.5, "beta": 3.0})]
    held = {"w": weights(16, 8), "b": weights(8)}
    model, bench, x = load_graph(build_graph(nodes, held)), bench_in("a"), inputs()
    settings = {"bias_correction": correct, "reduce_range": True}
    done = Int8Static().apply(model, settings, fitting_of(x), bench)
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.03


@BOTH
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("shape", [(2, 16, 16), (16,)], ids=["stack", "vector"])
def test_weights_that_are_no_matrix(
    shape: tuple[int, ...],
    per_channel: bool,
    technique: Int8Static | Int8Dynamic,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A product without an 8-bit kernel stays in float, and the others go on."""
    nodes = [
        ("MatMul", ["x", "w"], ["a"]),
        ("Tanh", ["a"], ["b"]),
        ("MatMul", ["b", "v"], ["y"]),
    ]
    stack = len(shape) == 3
    size = (2, 5, 16) if stack else (2, 16)
    held = {"w": weights(*shape), "v": weights(16 if stack else 2, 4, seed=2)}
    path = build_graph(nodes, held, ("batch", *size), rank=4 if stack else 2)
    model, bench = load_graph(path), bench_in("a")
    batch = np.random.default_rng(0).normal(size=(12, *size)).astype(np.float32)
    settings = {"per_channel": per_channel, "reduce_range": True}
    done = technique.apply(model, settings, fitting_of(batch), bench)
    assert done.changes[0].operators == (2 if stack and not per_channel else 1)
    assert error(answer(done.model, bench, batch), answer(model, bench, batch)) < 0.05


@BOTH
def test_a_table_that_a_product_reads_as_well(
    technique: Int8Static | Int8Dynamic,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A look-up has one scale, and the product of the same matrix one for each channel."""
    nodes = [
        ("Gather", ["table", "x"], ["a"]),
        ("ReduceMean", ["a"], ["b"], {"axes": [1], "keepdims": 0}),
        ("Gemm", ["b", "table"], ["y"], {"transB": 1}),
    ]
    path = build_graph(nodes, {"table": weights(50, 32)}, ("batch", "time"), kind=TensorProto.INT64)
    model, bench = load_graph(path), bench_in("a")
    ids = np.random.default_rng(0).integers(0, 50, (12, 7))
    done = technique.apply(model, {"reduce_range": True}, fitting_of(ids), bench)
    assert done.changes[0].operators == 2
    assert error(answer(done.model, bench, ids), answer(model, bench, ids)) < 0.05


def test_a_product_of_two_activations(
    build_graph: Any, load_graph: LoadGraph, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Scores of attention are computed in float from what 8-bit products return."""
    nodes = [
        ("MatMul", ["x", "q"], ["queries"]),
        ("MatMul", ["x", "k"], ["keys"]),
        ("Transpose", ["keys"], ["turned"], {"perm": [0, 2, 1]}),
        ("MatMul", ["queries", "turned"], ["scores"]),
        ("MatMul", ["x", "v"], ["values"]),
        ("MatMul", ["scores", "values"], ["y"]),
    ]
    held = {name: weights(16, 16, seed=seed) for seed, name in enumerate("qkv")}
    path = build_graph(nodes, held, ("batch", 5, 16), rank=3)
    model, bench = load_graph(path), bench_in("a")
    batch = np.random.default_rng(0).normal(size=(12, 5, 16)).astype(np.float32)
    settings = {"reduce_range": True, "operators": "matmul"}
    done = Int8Static().apply(model, settings, fitting_of(batch), bench)
    assert done.changes[0].operators == 3
    graph = onnx.load(done.model.artifact.path).graph
    rounded = {out for n in graph.node if n.op_type == "DequantizeLinear" for out in n.output}
    products = {node.output[0]: set(node.input) for node in graph.node if node.op_type == "MatMul"}
    assert len(products) == 5
    assert all(products[name] <= rounded for name in ("queries", "keys", "values"))
    assert not rounded & (products["scores"] | products["y"])
