"""Labels posted to a running server: a broken margin is seen, and one that holds is not."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from jettison.domain.record import from_json
from jettison.domain.run import RunRecord
from jettison.pipeline.emit import Cargo, emit
from jettison.pipeline.load import load_model
from jettison.trust import bundle_layout as layout
from tests.serving_bundle import FEATURES, LABELS, Made, make_bundle, make_rows
from tests.serving_process import ServeProcess, infer_body, metric

REQUESTS = 60


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`faithful` serves its original; `damaged` serves another network than its original."""
    place = tmp_path_factory.mktemp("quality")
    make_bundle(place / "faithful", Made(seed=0, loaded=True))
    other = make_bundle(place / "other", Made(seed=1))
    record = from_json(RunRecord, (other / layout.RUN).read_bytes())
    asked = replace(record.configuration.model, source=str(original_of(place)))
    original = load_model(asked, place / "loaded")
    candidate = record.trials[0].candidate
    assert candidate is not None
    emit(
        replace(record, model=original),
        Cargo(candidate, make_rows(place / "rows", Made(seed=1))),
        place / "damaged",
        str(place / "other-parts" / "ledger"),
    )
    return place


def original_of(place: Path) -> Path:
    """The model file that both bundles name as their original."""
    return place / "faithful-parts" / "model" / "model.onnx"


def post_labels(
    server: ServeProcess, client: httpx.Client, original: Path
) -> tuple[dict[str, object], str]:
    """Asks, waits for the shadow, and posts as labels what the original says of each row.

    Returns:
        The receipt of the labels, and the metrics after they were posted twice.
    """
    rows = np.random.default_rng(5).normal(size=(REQUESTS, 4, FEATURES)).astype(np.float32)
    truth = onnxruntime.InferenceSession(original, providers=["CPUExecutionProvider"])
    items = []
    for place, four in enumerate(rows):
        name = f"r{place}"
        answer = client.post(
            f"{server.url}/v2/models/m/infer", json={"id": name, **infer_body(four)}
        )
        assert answer.status_code == 200
        assert answer.json()["id"] == name
        classes = truth.run(["scores"], {"x": four})[0].argmax(axis=1)
        items.append({"id": name, "label": [LABELS[i] for i in classes]})
    wait_for_shadow(server, client)
    posts = [
        client.post(f"{server.url}/v2/models/m/outcomes", json={"outcomes": items})
        for _ in range(2)
    ]
    assert [post.status_code for post in posts] == [200, 200]
    assert posts[1].json()["joined"] == 0
    return posts[0].json(), client.get(f"{server.url}/metrics").text


def wait_for_shadow(server: ServeProcess, client: httpx.Client) -> None:
    """Waits until the shadow has done all that it took."""
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        text = client.get(f"{server.url}/metrics").text
        done = metric(text, "jettison_quality_shadow_rows", result="compared")
        dropped = metric(text, "jettison_quality_shadow_requests", result="dropped")
        if done / 4 + dropped >= REQUESTS:
            return
        time.sleep(0.05)
    raise AssertionError(f"the shadow did not answer: {text}")


@pytest.mark.parametrize(("name", "held"), [("faithful", 1.0), ("damaged", 0.0)])
def test_labels_show_whether_the_margin_holds(
    bundles: Path, tmp_path: Path, name: str, held: float
) -> None:
    """The original gives the labels: serving it keeps the margin, another network breaks it."""
    words = [
        str(bundles / name),
        "--name",
        "m",
        "--original",
        str(original_of(bundles)),
        "--shadow-share",
        "1.0",
    ]
    with ServeProcess(tmp_path, *words) as server, httpx.Client() as client:
        receipt, text = post_labels(server, client, original_of(bundles))
    assert receipt["received"] == receipt["joined"] == 4 * REQUESTS
    assert int(str(receipt["paired"])) > 2 * REQUESTS
    assert metric(text, "jettison_quality_margin_held", metric="accuracy") == held
    assert metric(text, "jettison_quality_outcomes", result="told_before") == 4 * REQUESTS
    agreement = metric(text, "jettison_quality_agreement_ratio", metric="agreement")
    assert (agreement == 1.0) == (held == 1.0)
    assert metric(text, "jettison_drift_available") == 1.0
    assert metric(text, "jettison_drift_rows") > 0


def test_evidence_survives_a_kill(bundles: Path, tmp_path: Path) -> None:
    """After kill -9 the alarm and the pairs behind it are there again; one server to a folder."""
    words = [str(bundles / "damaged"), "--name", "m", "--original", str(original_of(bundles))]
    words += ["--shadow-share", "1.0", "--no-grpc", "--state-folder", str(tmp_path / "state")]
    margin = {"metric": "accuracy", "group": "overall"}
    with ServeProcess(tmp_path / "one", *words) as server, httpx.Client() as client:
        post_labels(server, client, original_of(bundles))
        until = time.monotonic() + 30.0
        while True:
            text = client.get(f"{server.url}/metrics").text
            if metric(text, "jettison_quality_evidence_unsaved_seconds") == 0.0:
                break
            assert time.monotonic() < until
            time.sleep(0.2)
        pairs = metric(text, "jettison_quality_margin_rows", **margin)
        with ServeProcess(tmp_path / "two", *words, wait=False) as other:
            assert other.process.wait(60) == 2
            assert "another server keeps its evidence" in other.told
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
    with ServeProcess(tmp_path / "three", *words) as server, httpx.Client() as client:
        text = client.get(f"{server.url}/metrics").text
    assert pairs > 2 * REQUESTS
    assert metric(text, "jettison_quality_margin_rows", **margin) == pairs
    assert metric(text, "jettison_quality_margin_held", **margin) == 0.0
    (taken,) = (line for line in server.logs if line["event"] == "evidence taken up")
    assert taken["broken"] == ["accuracy overall"]


def test_bad_outcomes_are_refused_in_words(bundles: Path, tmp_path: Path) -> None:
    """What is no outcome is a 400 that says what is allowed; what can't be joined is counted."""
    with ServeProcess(tmp_path, str(bundles / "faithful")) as server, httpx.Client() as client:
        url = f"{server.url}/v2/models/faithful/outcomes"
        for body in ({}, {"outcomes": [{"label": 1}]}, {"outcomes": [{"id": "a", "x": 1}]}):
            answer = client.post(url, json=body)
            assert answer.status_code == 400
            assert "outcome" in answer.json()["error"]
        stranger = client.post(url, json={"outcomes": [{"id": "nobody", "label": "ant"}]})
        assert stranger.json()["refused"] == {"unknown id": 1}
        missing = client.post(f"{server.url}/v2/models/no/outcomes", json={"outcomes": []})
        assert missing.status_code == 404
