"""Small OpenVINO models for tests: ONNX graphs, converted as the technique does it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jettison.domain.model import Model
from jettison.formats.openvino_ir import OpenvinoIr
from jettison.graphs.openvino_ir import read_onnx, settle_weights


def converted(model: Model, folder: Path) -> Model:
    """The same model as OpenVINO IR in `folder`, without the comparison of answers."""
    graph = read_onnx(model.artifact.path)
    if "float32" in model.traits:
        settle_weights(graph)
    artifact = OpenvinoIr().save(graph, folder)
    traits = (model.traits - {"onnx"}) | {"openvino"}
    return dataclasses.replace(model, artifact=artifact, traits=traits)
