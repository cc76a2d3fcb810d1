"""Static and dynamic int8: what is quantized really is, and what can go wrong is caught."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.model import Artifact, Model
from jettison.domain.record import to_json
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.techniques.int8_dynamic import Int8Dynamic
from jettison.techniques.int8_static import Int8Static
from jettison.testing import contracts
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


def operators(model: Model) -> Counter[str]:
    graph = onnx.load(str(model.artifact.path)).graph
    return Counter(node.op_type for node in graph.node)


def stored(model: Model) -> Counter[int]:
    """Bytes per element type."""
    found: Counter[int] = Counter()
    for tensor in onnx.load(str(model.artifact.path)).graph.initializer:
        found[tensor.data_type] += len(numpy_helper.to_array(tensor).tobytes())
    return found


def error(found: Array, expected: Array) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture
def dense(build_graph: Any, load_graph: LoadGraph) -> Model:
    """Two dense layers; the second reads what a ReLU leaves of the first."""
    nodes = [
        ("MatMul", ["x", "w1"], ["a"]),
        ("Add", ["a", "b1"], ["b"]),
        ("Relu", ["b"], ["c"]),
        ("MatMul", ["c", "w2"], ["y"]),
    ]
    held = {"w1": weights(16, 64), "b1": weights(64), "w2": weights(64, 8, seed=2)}
    return load_graph(build_graph(nodes, held))


@BOTH
@pytest.mark.parametrize("per_channel", [True, False])
def test_products_become_integers(
    technique: Any, per_channel: bool, dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Both layers hold 8-bit weights, answers stay close, traits and counts tell so."""
    bench, x = bench_in("a"), inputs()
    applied = technique.apply(dense, {"per_channel": per_channel}, fitting_of(x), bench)
    changed = applied.model
    assert changed.traits == dense.traits - {"float32"} | {"int8"}
    assert applied.changes[0].operators == 2
    assert applied.changes[0].weights == 16 * 64 + 64 * 8
    assert stored(changed)[TensorProto.INT8] >= 16 * 64 + 64 * 8
    assert stored(changed)[TensorProto.FLOAT] < 1200
    assert error(answer(changed, bench, x), answer(dense, bench, x)) < 0.03


@BOTH
def test_keeps_the_contract(
    technique: Any, dense: Model, fitting_of: FittingOf, tmp_path: Path
) -> None:
    """Through workers: the input stays, bytes repeat, traits and reloaded answers hold."""
    settings = {"exclude_layers": 1}
    answered = contracts.check_technique(
        technique.name, dense, fitting_of(inputs()), tmp_path / "contract", settings=settings
    )
    assert answered.changes[0].operators == 1


@BOTH
def test_bytes_do_not_depend_on_the_hash_seed(
    technique: Any, dense: Model, fitting_of: FittingOf, tmp_path: Path
) -> None:
    """Processes with different hash seeds write the same bytes."""
    (tmp_path / "model.json").write_text(to_json(dense))
    (tmp_path / "fitting.json").write_text(to_json(fitting_of(inputs())))
    code = (
        "import sys; from pathlib import Path\n"
        "from jettison import machine, registry\n"
        "from jettison.domain.device import ServingProfile\n"
        "from jettison.domain.model import Model\n"
        "from jettison.domain.record import from_json\n"
        "from jettison.domain.splits import FittingData\n"
        "from jettison.worker.workbench import Bench\n"
        "root, name, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])\n"
        "out.mkdir(); model = from_json(Model, (root / 'model.json').read_text())\n"
        "fitting = from_json(FittingData, (root / 'fitting.json').read_text())\n"
        "bench = Bench(out, out, machine.describe_device(), ServingProfile())\n"
        "done = registry.get('techniques', name).apply(model, {'exclude_layers': 1}, fitting, bench)\n"
        "print(done.model.artifact.digest)\n"
    )
    digests = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path), technique.name, str(tmp_path / seed)]
        done = subprocess.run(
            command,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout.strip().splitlines()[-1])
    assert len(digests) == 1


def saturating(build_graph: Any, load_graph: LoadGraph) -> Model:
    """Every product of large activations and weights of one sign adds to the same sum."""
    rng = np.random.default_rng(5)
    weight = (1.0 - 0.2 * rng.random((256, 32))).astype(np.float32)
    return load_graph(build_graph([("MatMul", ["x", "w"], ["y"])], {"w": weight}, ("batch", 256)))


@BOTH
def test_saturation_is_visible_and_cured(
    technique: Any,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """On a CPU that adds pairs of u8s8 products in 16 bits, only 7-bit weights are right."""
    model, bench = saturating(build_graph, load_graph), bench_in("a")
    x = np.random.default_rng(6).uniform(0.9, 1.0, size=(16, 256)).astype(np.float32)
    expected = answer(model, bench, x)
    found = {
        narrow: error(
            answer(
                technique.apply(
                    model, {"reduce_range": narrow}, fitting_of(x), bench_in(str(narrow))
                ).model,
                bench,
                x,
            ),
            expected,
        )
        for narrow in (True, False)
    }
    assert found[True] < 0.01
    if bench.device.has_int8_dot_products or bench.device.architecture != "x86_64":
        assert found[False] < 0.01
    else:
        assert found[False] > 0.1


@BOTH
def test_one_scale_per_channel_keeps_small_channels(
    technique: Any,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A channel with weights 1000 times smaller is lost with one scale, kept with its own."""
    weight = weights(16, 8)
    weight[:, 3] /= 1000
    model = load_graph(build_graph([("MatMul", ["x", "w"], ["y"])], {"w": weight}))
    bench, x = bench_in("a"), inputs()
    expected = answer(model, bench, x)[:, 3]
    found = {}
    for per_channel in (True, False):
        settings = {"per_channel": per_channel}
        done = technique.apply(model, settings, fitting_of(x), bench_in(str(per_channel)))
        found[per_channel] = error(answer(done.model, bench, x)[:, 3], expected)
    assert found[True] < 0.05
    assert found[False] > 0.5


@BOTH
@pytest.mark.parametrize("what", ["constant activation", "zero weights", "one row"])
def test_degenerate_values(
    technique: Any,
    what: str,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A range of zero, a layer of zeros and a single calibration row give finite answers."""
    weight, x = weights(16, 8), inputs()
    nodes: list[Any] = [("MatMul", ["x", "w"], ["y"])]
    held = {"w": weight}
    if what == "zero weights":
        held["w"] = np.zeros_like(weight)
    if what == "constant activation":
        nodes = [("Mul", ["x", "none"], ["a"]), ("MatMul", ["a", "w"], ["y"])]
        held["none"] = np.zeros(1, dtype=np.float32)
    rows = x[:1] if what == "one row" else x
    model, bench = load_graph(build_graph(nodes, held)), bench_in("a")
    done = technique.apply(model, {}, fitting_of(rows), bench)
    expected = answer(model, bench, rows)
    np.testing.assert_allclose(answer(done.model, bench, rows), expected, atol=0.05)


def test_nan_rows_are_refused(dense: Model, bench_in: BenchIn, fitting_of: FittingOf) -> None:
    """A NaN in a calibration row is refused with its row."""
    x = inputs()
    x[9, 3] = np.nan
    with pytest.raises(CandidateFailed, match="input `x` of calibration row 9"):
        Int8Static().apply(dense, {}, fitting_of(x), bench_in("a"))


def test_rows_of_another_width_are_refused(
    dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """Calibration rows that the graph can't take are one sentence with the runtime's reason."""
    with pytest.raises(CandidateFailed, match="could not run this graph on the fitting rows"):
        Int8Static().apply(dense, {}, fitting_of(inputs(width=15)), bench_in("a"))


@BOTH
def test_shared_weights(
    technique: Any,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """Weights that two products share are stored once in 8 bits, and both answers are right."""
    nodes = [("MatMul", ["x", "w"], ["a"]), ("Tanh", ["a"], ["b"]), ("MatMul", ["b", "w"], ["y"])]
    model = load_graph(build_graph(nodes, {"w": weights(16, 16)}))
    bench, x = bench_in("a"), inputs()
    done = technique.apply(model, {}, fitting_of(x), bench)
    assert done.changes[0].operators == 2
    assert stored(done.model)[TensorProto.INT8] < 2 * 16 * 16
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.03


@BOTH
def test_weights_in_constant_nodes(
    technique: Any,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """Weights that an exporter left in `Constant` nodes are quantized too."""
    value = numpy_helper.from_array(weights(16, 8))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        ("MatMul", ["x", "w"], ["y"]),
    ]
    model, bench, x = load_graph(build_graph(nodes, {})), bench_in("a"), inputs()
    done = technique.apply(model, {}, fitting_of(x), bench)
    assert done.changes[0].operators == 1
    assert "Constant" not in operators(done.model)
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.03


@BOTH
def test_gemm_biases_of_every_shape(
    technique: Any,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A bias of one row, of one number, and transposed weights are handled alike."""
    nodes = [
        ("Gemm", ["x", "w1", "b1"], ["a"]),
        ("Tanh", ["a"], ["b"]),
        ("Gemm", ["b", "w2", "b2"], ["c"], {"transB": 1}),
        ("Tanh", ["c"], ["d"]),
        ("Gemm", ["d", "w3", "b3"], ["y"]),
    ]
    held = {
        "w1": weights(16, 12),
        "b1": weights(1, 12),
        "w2": weights(10, 12, seed=2),
        "b2": weights(10),
        "w3": weights(10, 6, seed=3),
        "b3": np.array([0.25], dtype=np.float32),
    }
    model, bench, x = load_graph(build_graph(nodes, held)), bench_in("a"), inputs()
    done = technique.apply(model, {}, fitting_of(x), bench)
    assert done.changes[0].operators == 3
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.04


@BOTH
def test_nothing_to_quantize(
    technique: Any,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
) -> None:
    """A graph without constant products is an error, not a silent copy."""
    nodes = [("Mul", ["x", "w"], ["a"]), ("Relu", ["a"], ["y"])]
    model = load_graph(build_graph(nodes, {"w": weights(16)}))
    with pytest.raises(NothingChanged, match="constant float weights"):
        technique.apply(model, {}, fitting_of(inputs()), bench_in("a"))


def test_ranges_are_found_once(
    dense: Model, bench_in: BenchIn, fitting_of: FittingOf, tmp_path: Path
) -> None:
    """Other settings read the ranges that the first trial found."""
    fitting = fitting_of(inputs())
    Int8Static().apply(dense, {}, fitting, bench_in("a"))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("ranges-*")}
    assert len(written) == 1
    settings = {"per_channel": False, "calibrator": "percentile_99.0"}
    Int8Static().apply(dense, settings, fitting, bench_in("b"))
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("ranges-*")}
    assert again == written


@BOTH
def test_nothing_is_left_behind(
    technique: Any, dense: Model, bench_in: BenchIn, fitting_of: FittingOf
) -> None:
    """The folder holds the model alone, and the input's files are as they were."""
    bench = bench_in("a")
    before = Artifact.of("onnx_file", dense.artifact.folder, dense.artifact.files)
    done = technique.apply(dense, {"exclude_layers": 1}, fitting_of(inputs()), bench)
    assert sorted(p.name for p in bench.folder.iterdir()) == list(done.model.artifact.files)
    assert sorted(p.name for p in Path(dense.artifact.folder).iterdir()) == ["model.onnx"]
    assert Artifact.of("onnx_file", dense.artifact.folder, dense.artifact.files) == before


@BOTH
def test_external_data(
    technique: Any,
    build_graph: Any,
    load_graph: LoadGraph,
    bench_in: BenchIn,
    fitting_of: FittingOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights beside the graph are read from there, and heavy results are written beside it."""
    from jettison.graphs import onnx_prepare, onnx_storage

    source = build_graph([("MatMul", ["x", "w"], ["y"])], {"w": weights(16, 512)})
    onnx.save(onnx.load(source), source, save_as_external_data=True, location="weights.bin")
    for module in (onnx_prepare, onnx_storage):
        monkeypatch.setattr(module, "INLINE_LIMIT", 4096)
    model, bench, x = load_graph(source), bench_in("a"), inputs()
    assert model.artifact.files == ("model.onnx", "model.onnx.data")
    done = technique.apply(model, {"exclude_layers": 0}, fitting_of(x), bench)
    assert done.model.artifact.files == ("model.onnx", "model.onnx.data")
    assert done.model.artifact.size_bytes < model.artifact.size_bytes / 2
    assert error(answer(done.model, bench, x), answer(model, bench, x)) < 0.03
    assert sorted(p.name for p in bench.folder.iterdir()) == list(done.model.artifact.files)
