"""Guardrails in the way of requests: before the queue, counted, over every protocol."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from jettison import registry
from jettison.domain.model import Model
from jettison.domain.recipe import Refusal
from jettison.domain.rows import Batch
from jettison.errors import ConfigError, RequestRefused
from jettison.pipeline.verify import open_bundle
from jettison.serving.guarding import Door, read_guardrails
from jettison.serving.observability import Observability
from jettison.serving.repository import Repository
from jettison.serving.requests import InferenceRequest
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource
from tests.serving_bundle import FEATURES
from tests.serving_live import LiveServer
from tests.serving_process import infer_body, metric

LIMITS = {"m": {"input_limits": {"rows": 4, "range": {"x": [-10, 10]}}}}
GOOD = np.ones((2, FEATURES), np.float32)
BAD = np.full((2, FEATURES), 99, np.float32)


def test_every_protocol_refuses_alike(bundle: Path) -> None:
    """HTTP with tensors and with rows 422, gRPC INVALID_ARGUMENT; good requests are answered."""
    sources = (ServedSource("m", bundle),)
    with (
        LiveServer(sources, grpc=True, guardrails=LIMITS) as server,
        server.client() as client,
        tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as remote,
    ):
        answers = [
            client.post("/v2/models/m/infer", json=infer_body(BAD)),
            client.post("/v2/models/m/predict", json={"rows": BAD.tolist()}),
        ]
        tensor = tritonclient.grpc.InferInput("x", BAD.shape, "FP32")
        tensor.set_data_from_numpy(BAD)
        with pytest.raises(InferenceServerException) as caught:
            remote.infer("m", [tensor])
        good = client.post("/v2/models/m/infer", json=infer_body(GOOD))
        notes = server.call(server.repository.get, "m").notes
        text = client.get("/metrics").text
    assert [answer.status_code for answer in answers] == [422, 422]
    said = "input_limits: input `x` has 99.0 at row 0; allowed is -10 to 10"
    assert [answer.json()["error"] for answer in answers] == [said, said]
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert caught.value.message() == said
    assert good.status_code == httpx.codes.OK
    assert notes[-1] == "every request must pass the guardrails input_limits"
    assert metric(text, "jettison_rejected_total", model="m", reason="guardrail") == 3
    assert metric(text, "jettison_requests_total", model="m", code="422") == 3


def test_what_is_refused_never_waits(bundle: Path) -> None:
    """The queue sees nothing of it, also while the model is busy."""
    sources = (ServedSource("m", bundle),)
    with LiveServer(sources, guardrails=LIMITS) as server, server.client() as client:
        with server.still("m"):
            refused = client.post("/v2/models/m/infer", json=infer_body(np.tile(GOOD, (3, 1))))
            assert server.waiting_rows("m") == 0
        assert refused.status_code == 422
        assert "at most 4" in refused.json()["error"]


def test_shape_comes_first(bundle: Path) -> None:
    """A guardrail only sees what the model takes."""
    sources = (ServedSource("m", bundle),)
    with LiveServer(sources, guardrails=LIMITS) as server, server.client() as client:
        answer = client.post("/v2/models/m/infer", json=infer_body(BAD[:, :3]))
    assert answer.status_code == 400


def test_a_version_that_is_loaded_later_has_the_same_door(bundle: Path, other_bundle: Path) -> None:
    """Limits belong to the name, so a swap doesn't open it."""

    async def run() -> list[str]:
        settings = ServeSettings(max_batch_rows=8, guardrails=LIMITS)
        repository = Repository([ServedSource("m", bundle)], Observability(), settings)
        await repository.start()
        reasons = []
        for folder in (bundle, other_bundle):
            await repository.load("m", folder)
            with pytest.raises(RequestRefused) as caught:
                await repository.infer(
                    "m", InferenceRequest({"x": BAD}, 2, time.monotonic() + 20.0)
                )
            reasons.append(caught.value.reason)
        await repository.drain()
        return reasons

    assert asyncio.run(run()) == ["guardrail", "guardrail"]


def test_settings_that_do_not_fit_stop_the_start(bundle: Path) -> None:
    """A limit on an input that the model lacks is a mistake, not a limit on nothing."""
    limits = {"m": {"input_limits": {"range": {"age": [0, 120]}}}}
    with pytest.raises(ConfigError, match="no input `age`; there are x"):
        LiveServer((ServedSource("m", bundle),), guardrails=limits).__enter__()


class Faulty:
    """A guardrail with a fault of its own."""

    name = "faulty"

    def prepare(self, model: Model, settings: object) -> object:
        """Makes a check that fails."""

        def check(request: Batch) -> Refusal | None:
            raise LookupError("a list that was not loaded")

        return check


def test_a_fault_in_a_guardrail_lets_nothing_pass(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the server's fault, and said so; the request does not go by."""
    found = registry.get
    monkeypatch.setattr(
        registry, "get", lambda family, name: Faulty() if name == "faulty" else found(family, name)
    )
    model, _, _ = open_bundle(bundle)
    with pytest.raises(RequestRefused, match="`faulty` could not judge") as caught:
        Door(model, {"faulty": {}}).check({"x": GOOD})
    assert caught.value.reason == "failed"


def test_the_file_of_guardrails(tmp_path: Path) -> None:
    """Tables by model and guardrail, as TOML has them."""
    path = tmp_path / "guardrails.toml"
    path.write_text("[m.input_limits]\nrows = 4\nrange.x = [-10, 10]\n")
    assert read_guardrails(path, ["m", "n"]) == LIMITS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[other.input_limits]\n", "no model `other` is served; there are `m`"),
        ("[m.inputlimits]\n", "`m.inputlimits` must be a table of a guardrail; there are input_"),
        ("m = 3\n", "`m` must be a table"),
        ("[m]\ninput_limits = 3\n", "`m.input_limits` must be a table"),
        ("not toml", "can't be read"),
    ],
)
def test_a_file_with_mistakes(tmp_path: Path, text: str, said: str) -> None:
    """Each says what is there and what may be."""
    path = tmp_path / "guardrails.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_guardrails(path, ["m"])
    assert said in str(caught.value)
    with pytest.raises(ConfigError, match="can't be read"):
        read_guardrails(tmp_path / "absent.toml", ["m"])
