"""A bundle whose model gives back what it gets: one input and one output of every data type."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.recipe import Candidate, Change, Recipe, Step
from jettison.domain.rows import Rows
from jettison.pipeline.emit import Cargo, emit
from tests.serving_bundle import RUNTIME, Made, _record, make_certificate, serving_of

WIDTH = 3
TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "str": TensorProto.STRING,
}
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "str": "BYTES",
}


def some_rows(n: int) -> dict[str, np.ndarray]:
    """Values at the edges of each type, and text beyond ASCII."""
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for name in TYPES:
        if name == "str":
            words = ["", "a", "größer", "\u4e2d\u6587", 'quo"te', "line\nbreak"]
            values = np.array([words[i % len(words)] for i in range(n * WIDTH)], dtype=object)
        elif name == "bool":
            values = rng.random(n * WIDTH) < 0.5
        elif "int" in name:
            limits = np.iinfo(name)
            values = np.resize(np.array([limits.min, limits.max, 1], dtype=name), n * WIDTH)
        else:
            values = np.resize(np.array([-1.5, 0.1, 3e4], dtype=name), n * WIDTH)
        made[name] = values.reshape(n, WIDTH)
    return made


def make_echo_bundle(folder: Path) -> Path:
    """Writes the bundle; gives `folder`."""
    place = folder.with_name(f"{folder.name}-parts")
    model = _model(place / "model")
    rows = _rows(place / "rows")
    candidate = Candidate(
        Recipe((Step("round_weights", {"bits": 8}),), RUNTIME), model, (Change("made", 1, 1),)
    )
    how = Made()
    configuration = Configuration(
        ModelSection(str(model.artifact.path), "embedding"),
        DataSection("rows.npz"),
        serving=serving_of(how),
    )
    certificate = make_certificate(how, candidate, configuration)
    record = _record(model, candidate, configuration, certificate)
    emit(record, Cargo(candidate, rows), folder, str(place / "ledger"))
    return folder


def _model(folder: Path) -> Model:
    folder.mkdir(parents=True)
    infos = {
        way: [
            helper.make_tensor_value_info(f"{way}_{name}", kind, ["batch", WIDTH])
            for name, kind in TYPES.items()
        ]
        for way in ("in", "out")
    }
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in TYPES]
    graph = helper.make_graph(nodes, "echo", infos["in"], infos["out"])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, folder / "model.onnx")
    return Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx",)),
        traits=frozenset({"onnx", "standard-operators", "float32"}),
        inputs=tuple(TensorSpec(f"in_{name}", name, ("batch", WIDTH)) for name in TYPES),
        outputs=tuple(TensorSpec(f"out_{name}", name, ("batch", WIDTH)) for name in TYPES),
        prediction="out_float32",
        task="embedding",
        encoder=Encoder.of("arrays", {"columns": [f"in_{name}" for name in TYPES]}),
    )


def _rows(folder: Path) -> Rows:
    folder.mkdir(parents=True)
    whole = hashlib.sha256()
    for name, values in some_rows(16).items():
        stored = values.astype(np.str_) if name == "str" else values
        np.save(folder / f"in_{name}.npy", stored)
        whole.update(stored.tobytes())
    names = tuple(f"in_{name}" for name in TYPES)
    return Rows(str(folder), names, 16, {}, whole.hexdigest())
