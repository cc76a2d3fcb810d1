"""Bundles that are exported, and jobs made by hand for models that no small bundle has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from jettison.domain.certificate import Certificate
from jettison.domain.encoder import Encoder
from jettison.domain.exports import ExportJob
from jettison.domain.model import Artifact, Model
from jettison.domain.outer_points import Exporter
from jettison.domain.record import from_json
from jettison.domain.run import RunRecord
from jettison.export import exporting
from jettison.graphs.onnx_graph import tensor_specs
from jettison.pipeline.verify import open_for_serving
from jettison.trust import bundle_layout as layout
from tests.serving_bundle import Made, make_bundle

Shape = list[int | str] | None


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certified network that batches well."""
    return make_bundle(tmp_path_factory.mktemp("export") / "release")


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certified text model with its tokenizer."""
    return make_bundle(tmp_path_factory.mktemp("export-text") / "release", Made(kind="text"))


@pytest.fixture(scope="session")
def lonely_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose rows heed their neighbours, certified one by one."""
    folder = tmp_path_factory.mktemp("export-lonely") / "release"
    return make_bundle(folder, Made(kind="dynamic", one_by_one=True, batch_sizes=(1,)))


@pytest.fixture(scope="session")
def uncertified_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose seal stayed closed."""
    folder = tmp_path_factory.mktemp("export-uncertified") / "release"
    return make_bundle(folder, Made(certified=False))


def job_of(bundle: Path, exporter: Exporter, *given: str, name: str = "reviews") -> ExportJob:
    """What a kind is handed for a bundle."""
    opened = open_for_serving(bundle)
    served, record = opened.served, from_json(RunRecord, (bundle / layout.RUN).read_bytes())
    return ExportJob(
        bundle=str(bundle),
        manifest=layout.read_manifest(bundle),
        name=name,
        model=served.model,
        runtime=served.runtime,
        serving=served.serving,
        one_by_one=served.one_by_one,
        certificate=from_json(Certificate, (bundle / layout.CERTIFICATE).read_bytes()),
        versions=record.profile.device.versions,
        measured=record.claims.get(record.shipped),
        settings=exporting.settle(exporter, given),
    )


@pytest.fixture
def job(bundle: Path) -> Callable[..., ExportJob]:
    """Makes jobs of the first bundle: `job(exporter, "key=value", ..., field=value)`."""

    def make(exporter: Exporter, *given: str, **changes: Any) -> ExportJob:
        return dataclasses.replace(job_of(bundle, exporter, *given), **changes)

    return make


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """The setting that names a wheel."""
    path = tmp_path / "jettison-0.1.0-py3-none-any.whl"
    path.write_bytes(b"a wheel")
    return f"wheel={path}"


def write_graph(
    folder: Path,
    inputs: dict[str, tuple[int, Shape]],
    outputs: dict[str, tuple[int, Shape]],
    nodes: list[onnx.NodeProto] | None = None,
) -> Path:
    """Writes a graph; without nodes each output is the input of the same place, passed on."""
    pairs = zip(inputs, outputs, strict=False)
    made = nodes or [helper.make_node("Identity", [a], [b]) for a, b in pairs]
    graph = helper.make_graph(
        made,
        "made",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in outputs.items()],
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def describe(path: Path, *traits: str, labels: tuple[str, ...] = ()) -> Model:
    """Describes a graph by what it says of itself."""
    inputs, outputs = tensor_specs(path)
    return Model(
        artifact=Artifact.of("onnx_file", path.parent, (path.name,)),
        traits=frozenset({"onnx", *traits}),
        inputs=inputs,
        outputs=outputs,
        prediction=outputs[0].name,
        task="classification",
        encoder=Encoder.of("arrays", {}, labels=labels),
    )


FLOAT, TEXT, INTEGER = TensorProto.FLOAT, TensorProto.STRING, TensorProto.INT64
