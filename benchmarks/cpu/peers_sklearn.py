"""skl2onnx, called as its documentation calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.cpu.records import Subject
from jettison.domain.configuration import ModelSection
from jettison.domain.jobs import Variant
from jettison.domain.recipe import Step
from jettison.graphs.sklearn_store import open_skops
from jettison.pipeline.load import load_model

FILE = "given.onnx"


def converted(subject: Subject, place: Path) -> Variant:
    """`to_onnx` with the types that it finds in the table: strings and doubles."""
    from skl2onnx.common.data_types import DoubleTensorType

    return _saved(_graph(subject, DoubleTensorType), subject, place)


def in_floats(subject: Subject, place: Path) -> Variant:
    """Numbers as 32-bit floats, as its guide advises for trees; the graph casts them itself."""
    from onnx import TensorProto, helper
    from skl2onnx.common.data_types import FloatTensorType

    model = _graph(subject, FloatTensorType)
    for spec in [i for i in model.graph.input if i.type.tensor_type.elem_type == TensorProto.FLOAT]:
        given, cast = spec.name, f"{spec.name}_float"
        for node in model.graph.node:
            node.input[:] = [cast if name == given else name for name in node.input]
        model.graph.node.insert(
            0, helper.make_node("Cast", [given], [cast], f"cast_{given}", to=TensorProto.FLOAT)
        )
        spec.type.tensor_type.elem_type = TensorProto.DOUBLE
    return _saved(model, subject, place)


def _graph(subject: Subject, number: Any) -> Any:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType

    columns = [
        (spec.name, (StringTensorType if "str" in spec.dtype else number)([None, 1]))
        for spec in subject.model.inputs
    ]
    estimator = open_skops(subject.model.artifact.path)
    return to_onnx(estimator, initial_types=columns, options={"zipmap": False})


def _saved(graph: Any, subject: Subject, place: Path) -> Variant:
    (place / FILE).write_bytes(graph.SerializeToString())
    model = load_model(ModelSection(str(place / FILE), task=subject.model.task), place / "loaded")
    return Variant("", model, Step("onnx_runtime"))


PEERS: Mapping[str, Callable[[Subject, Path], Variant]] = {
    "skl2onnx to_onnx": converted,
    "skl2onnx to_onnx, floats": in_floats,
}
