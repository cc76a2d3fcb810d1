"""A bundle of OpenVINO IR is served like any other: the engine asks the registry for its runtime."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.recipe import Step
from jettison.errors import UsageError
from jettison.export.exporting import export
from jettison.runtimes.openvino import Openvino
from jettison.serving.engine import Engine
from jettison.serving.sources import ServedSource
from tests.serving_bundle import Made, make_bundle, make_model, make_rows
from tests.serving_live import LiveServer

MADE = Made(kind="openvino")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certified bundle whose model is OpenVINO IR."""
    return make_bundle(tmp_path_factory.mktemp("openvino") / "release", MADE)


def test_a_server_answers_from_openvino(bundle: Path, tmp_path: Path) -> None:
    """Rehearsal, batches and the protocol work; the answers are those of the runtime."""
    rows = make_rows(tmp_path / "rows", MADE)
    model = make_model(tmp_path / "model", MADE)
    runner = Openvino().prepare(model, model.artifact.path, {}, ServingProfile())
    values = rows.batch(slice(0, 3))["x"]
    expected = runner.run({"x": values})["scores"]
    with LiveServer((ServedSource("mlp", bundle),)) as server:
        tensor = {
            "name": "x",
            "datatype": "FP32",
            "shape": list(values.shape),
            "data": values.ravel().tolist(),
        }
        with server.client() as client:
            answer = client.post("/v2/models/mlp/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    np.testing.assert_allclose(outputs["scores"], expected.ravel(), atol=1e-5)


def test_the_engine_runs_it_on_its_own_thread(tmp_path: Path) -> None:
    """OpenVINO answers the same from the engine's thread, again and again."""
    model = make_model(tmp_path / "model", MADE)
    batch = make_rows(tmp_path / "rows", MADE).batch(slice(0, 8))

    async def test() -> None:
        engine = await Engine.load(model, Step("openvino"), ServingProfile())
        first, second = await engine.run(batch), await engine.run(batch)
        np.testing.assert_array_equal(first["scores"], second["scores"])
        engine.close()

    asyncio.run(test())


def test_triton_refuses_it_before_anything_is_written(bundle: Path, tmp_path: Path) -> None:
    """The export is for ONNX files; the message says what this is, and what takes it."""
    target = tmp_path / "triton"
    with pytest.raises(
        UsageError, match=r"`triton` needs a model that is `onnx`.*runs on openvino"
    ):
        export("triton", bundle, target)
    assert not target.exists()
