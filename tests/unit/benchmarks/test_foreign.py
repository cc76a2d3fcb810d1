"""Foreign graphs: how an ending is told, and how a fixed number of rows is freed."""

from __future__ import annotations

from pathlib import Path

import onnx

from benchmarks.foreign import trying
from benchmarks.foreign.sources import Graph, free_batch, from_wheels
from jettison.errors import CandidateFailed, InternalError, ModelError


def ended(error: Exception) -> str:
    graph = Graph("here", "tiny", "tiny.onnx")
    return trying._ended(graph, "profile and advise", error, 0.0).end


def test_a_sentence_of_ours_is_a_refusal() -> None:
    """An error that jettison foresaw is no fault."""
    assert ended(ModelError("the graph has no inputs")) == "refused"
    assert ended(CandidateFailed("OpenVINO's graph has no input `x`")) == "refused"


def test_what_nobody_foresaw_is_a_fault() -> None:
    """A library's own words, a fault of ours, and a page of text are faults."""
    foreign = CandidateFailed("apply failed: IndexError: list index out of range")
    foreign.add_note("In the worker:\nTraceback (most recent call last): ...")
    assert ended(foreign) == "fault"
    assert ended(InternalError("the loader failed")) == "fault"
    assert ended(KeyError("x")) == "fault"
    assert ended(ModelError("long " * 200)) == "fault"


def relu(folder: Path, rows: int) -> Path:
    shape = [rows, 4]
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    path = folder / "relu.onnx"
    onnx.save(onnx.helper.make_model(graph), str(path))
    return path


def test_a_fixed_number_of_rows_is_freed(tmp_path: Path) -> None:
    """Of a graph for exactly 3 rows a copy is written that takes any number."""
    target = tmp_path / "free.onnx"
    assert free_batch(relu(tmp_path, 3), target)
    first = onnx.load(str(target)).graph.input[0].type.tensor_type.shape.dim[0]
    assert first.dim_param == "batch"


def test_one_row_is_left_as_it_is(tmp_path: Path) -> None:
    """A graph for one row is taken as it is: nothing is written."""
    target = tmp_path / "free.onnx"
    assert not free_batch(relu(tmp_path, 1), target)
    assert not target.exists()


def test_graphs_are_named_by_package(tmp_path: Path) -> None:
    """The folder of a wheel is its package; `model.onnx` takes the name of its folder."""
    for place in ("magika/magika/standard", "akiki/models"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "magika/magika/standard/model.onnx").touch()
    (tmp_path / "akiki/models/vad.onnx").touch()
    found = [(g.package, g.name) for g in from_wheels(tmp_path)]
    assert found == [("akiki", "vad"), ("magika", "standard")]
