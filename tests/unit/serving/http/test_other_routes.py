"""Health, metadata, metrics, outcomes, the page."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from jettison.serving.http import routes
from jettison.serving.sources import ServedSource
from tests.serving_live import LiveServer
from tests.unit.serving.http.test_calls import INFER, body


def test_health_says_yes(live: LiveServer) -> None:
    """Live and ready, for probes of a balancer."""
    with live.client() as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}


def test_a_stopping_server_is_live_but_not_ready(bundle: Path) -> None:
    """While it drains, ready is 503 so that no balancer sends more; calls are refused as 503."""
    with (
        LiveServer([ServedSource("mlp", bundle)], max_batch_rows=4) as server,
        server.client() as client,
    ):
        server.call(server.repository.drain)
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503
        reply = client.post(INFER, json=body())
        assert reply.status_code == 503
        assert "stopping" in reply.json()["error"]


def test_metrics_count_what_was_asked(live: LiveServer) -> None:
    """`/metrics` is in Prometheus' format and counts by status; unknown names make no series."""
    with live.client() as client:
        before = _count(client.get("/metrics").text, 'code="200"')
        client.post(INFER, json=body())
        client.post("/v2/models/made-up-by-a-caller/infer", json=body())
        reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert _count(reply.text, 'code="200"') == before + 1
    assert "made-up-by-a-caller" not in reply.text


def _count(text: str, label: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith("jettison_requests_total{")]
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if label in line and 'model="mlp"' in line
    )


def test_outcomes_are_handed_over(live: LiveServer) -> None:
    """What is posted under the id of an answered request finds it; strangers are counted apart."""
    with live.client() as client:
        client.post(INFER, json={**body(), "id": "known"})
        told = {"outcomes": [{"id": "known", "label": "ant"}, {"id": "stranger", "label": "bee"}]}
        receipt = client.post("/v2/models/mlp/outcomes", json=told)
        wrong = client.post("/v2/models/mlp/outcomes", json={"outcomes": [{"label": "ant"}]})
    assert receipt.status_code == 200
    assert receipt.json()["received"] == 2
    assert receipt.json()["joined"] == 1
    assert wrong.status_code == 400


def test_the_page_can_be_left_out(bundle: Path, live: LiveServer) -> None:
    """`/` is a page unless the settings say no."""
    with live.client() as client:
        assert client.get("/").headers["content-type"].startswith("text/html")
    settings = {"max_batch_rows": 4, "page": False}
    with LiveServer([ServedSource("mlp", bundle)], **settings) as server, server.client() as client:
        assert client.get("/").status_code == 404


def test_the_routes_are_described(live: LiveServer) -> None:
    """`/openapi.json` lists the routes; nothing is loaded from elsewhere to show it."""
    with live.client() as client:
        told = orjson.loads(client.get("/openapi.json").content)
        assert client.get("/docs").status_code == 404
    assert {"/v2", "/v2/health/ready", "/v2/models/{name}", "/metrics"} <= set(told["paths"])


def test_outcomes_are_read_on_a_thread(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A post of outcomes may be as long as any body, and keeps nobody else waiting."""
    threads: list[str] = []
    read = routes.parse_outcomes

    def noted(payload: object) -> Any:
        threads.append(threading.current_thread().name)
        return read(payload)

    monkeypatch.setattr(routes, "parse_outcomes", noted)
    with live.client() as client:
        told = {"outcomes": [{"id": "never", "label": "ant"}]}
        assert client.post("/v2/models/mlp/outcomes", json=told).status_code == 200
    assert threads
    assert threads != ["live-server"]
