"""A real Prometheus scrapes a real server: counts are exact, every panel has data, an alert fires."""

from __future__ import annotations

import collections
import contextlib
import gzip
import importlib.util
import itertools
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc

from jettison.serving.observability.dashboard import dashboard, expressions
from jettison.serving.observability.monitoring_files import write_monitoring
from tests.made_up_nvml import make_nvml
from tests.serving_bundle import FEATURES, LABELS, Made, make_bundle
from tests.serving_process import ServeProcess, infer_body

pytestmark = pytest.mark.slow

GOOD, BARE = "good", "bare"
INTERVAL = "[8s]"
FEWEST_ROWS = 260
START_SECONDS = 20.0
HTTP_TRACE, GRPC_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
GZIP = b"\x1f\x8b"
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


@dataclass
class Seen:
    """What clients, Prometheus and its alerts said."""

    counted: collections.Counter[tuple[str, str, str]]
    scraped: dict[tuple[str, str, str], float] = field(default_factory=dict)
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    rules: list[dict[str, Any]] = field(default_factory=list)
    batches: float = 0.0
    up: float = 0.0
    logs: list[dict[str, Any]] = field(default_factory=list)
    spans: bytes = b""
    exposed: bytes = b""


class Collector:
    """Takes OpenTelemetry spans on a free port of this machine."""

    def __enter__(self) -> Collector:
        received: list[bytes] = []
        self.received = received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append(gzip.decompress(body) if body[:2] == GZIP else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Prints nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def spans(self) -> bytes:
        """All that was received."""
        return b"".join(self.received)


class Prometheus:
    """A running Prometheus on a free port of this machine."""

    def __init__(self, place: Path, configuration: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.place = place
        self.command = [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={place / 'storage'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=warn",
        ]

    def __enter__(self) -> Prometheus:
        with open(self.place / "prometheus.log", "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=self.place, start_new_session=True
            )
        wait_until(lambda: self._answers("/-/ready"), "Prometheus is not ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)

    def _answers(self, path: str) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + path).status_code == 200
        return False

    def ask(self, path: str, **parameters: str) -> Any:
        """One call of its API; a query with a mistake in it fails here."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10.0)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression, now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def number(self, expression: str) -> float:
        """The only sample of an expression; 0 where there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0


class Traffic:
    """Callers of every kind; counts what each was answered."""

    def __init__(self, url: str, grpc: str) -> None:
        self.url = url
        self.grpc = grpc
        self.counted: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self.stopped = threading.Event()
        self.pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Traffic:
        self.running = self.pool.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.pool.shutdown()

    def _run(self) -> None:
        rng = np.random.default_rng(5)
        with (
            httpx.Client(base_url=self.url, timeout=20.0) as client,
            tritonclient.grpc.InferenceServerClient(self.grpc) as remote,
        ):
            for turn in itertools.count():
                if self.stopped.wait(0.02):
                    return
                self._round(client, rng, turn)
                if turn % 5 == 0:
                    self._call(remote, rng.normal(size=(2, FEATURES)).astype(np.float32))

    def _round(self, client: httpx.Client, rng: np.random.Generator, turn: int) -> None:
        rows = rng.normal(size=(8, FEATURES)).astype(np.float32)
        body = infer_body(rows) | {"id": f"request-{turn}"}
        self._post(client, GOOD, "infer", body, HTTP_TRACE)
        if turn % 2 == 0:
            label = LABELS[turn % len(LABELS)]
            told = {"outcomes": [{"id": f"request-{turn - 2}", "row": 0, "label": label}]}
            client.post(f"/v2/models/{GOOD}/outcomes", json=told)
        if turn % 4 == 0:
            row = {"x": rng.normal(size=FEATURES).tolist()}
            self._post(client, GOOD, "predict", {"rows": [row]})
            self._post(client, BARE, "infer", infer_body(rows[:1]))
        if turn % 8 == 0:
            self._post(client, GOOD, "infer", infer_body(rows[:, :3]))
            self._post(client, f"made-up-{turn}", "infer", {})

    def _call(self, remote: Any, rows: np.ndarray) -> None:
        tensor = tritonclient.grpc.InferInput("x", rows.shape, "FP32")
        tensor.set_data_from_numpy(rows)
        answer = remote.infer(
            GOOD, [tensor], headers={"traceparent": f"00-{GRPC_TRACE}-00f067aa0ba902b7-01"}
        )
        assert answer.as_numpy("scores").shape[0] == len(rows)
        self.counted[GOOD, "200", "grpc"] += 1

    def _post(
        self, client: httpx.Client, model: str, verb: str, body: Any, trace: str = ""
    ) -> None:
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"} if trace else {}
        answer = client.post(f"/v2/models/{model}/{verb}", json=body, headers=headers)
        known = model if model in (GOOD, BARE) else "(unknown)"
        self.counted[known, str(answer.status_code), "http"] += 1


def wait_until(true: Any, otherwise: str, seconds: float = START_SECONDS) -> None:
    """Waits for something that must come true soon."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, otherwise
        time.sleep(0.1)


def filled(expression: str) -> str:
    """An expression as Grafana sends it, with all models and jobs chosen."""
    for name in ("job", "model"):
        expression = expression.replace(f"${name}", ".+")
    return expression.replace("[$__rate_interval]", INTERVAL)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One run of all: two models, one without a certificate, under traffic of every kind."""
    if shutil.which("prometheus") is None:
        pytest.skip(
            "NO PROMETHEUS: counts, dashboard and alerts were not tried with the real one; install "
            "Debian's `prometheus` to run these tests"
        )
    place = tmp_path_factory.mktemp("watched")
    good = make_bundle(place / GOOD, Made(seed=0))
    bare = make_bundle(place / BARE, Made(seed=1, certified=False))
    original = place / f"{GOOD}-parts" / "model" / "model.onnx"
    words = [f"{GOOD}={good}", f"{BARE}={bare}", "--allow-uncertified"]
    words += ["--original", f"{GOOD}={original}", "--shadow-share", "1.0"]
    library = make_nvml(place / "driver")  # two GPUs, so that their panels have data too
    with (
        pytest.MonkeyPatch.context() as patch,
        Collector() as collector,
    ):
        patch.setenv("LD_LIBRARY_PATH", str(library.parent))
        yield from _seen(place, collector, words)


def _seen(place: Path, collector: Collector, words: list[str]) -> Iterator[Seen]:
    with ServeProcess(place / "server", *words, *_tracing(collector)) as server:
        write_monitoring(place, server.url.removeprefix("http://"))
        configuration = place / "prometheus.yml"
        text = configuration.read_text()
        assert text.count("_interval: 5s") == 2
        configuration.write_text(text.replace("_interval: 5s", "_interval: 1s"))
        with Prometheus(place, configuration) as prometheus:
            found = _watched(server, prometheus)
        server.end(signal.SIGTERM)  # what waits to be sent is sent before the end
        found.spans = collector.spans
        yield found


def _tracing(collector: Collector) -> list[str]:
    return ["--trace-endpoint", collector.url] if _has_tracing() else []


def _has_tracing() -> bool:
    try:
        return importlib.util.find_spec(EXPORTER) is not None
    except ModuleNotFoundError:
        return False


def _watched(server: ServeProcess, prometheus: Prometheus) -> Seen:
    wait_until(lambda: prometheus.number('up{job="jettison"}') == 1, server.told)
    with Traffic(server.url, str(server.facts["grpc"])) as traffic:
        known = (
            f'jettison_drift_rows{{model="{GOOD}"}} > {FEWEST_ROWS} and on () jettison_quality_drop'
        )
        wait_until(lambda: prometheus.query(known), "the monitors know nothing yet")
        time.sleep(3)  # a few scrapes with all series in them, so that all rates are known
        answers = {
            name: prometheus.query(filled(expression)) for name, expression in expressions().items()
        }
    traffic.running.result(20)
    seen = Seen(traffic.counted, answers=answers)
    total = sum(seen.counted.values())
    wait_until(
        lambda: prometheus.number("sum(jettison_requests_total)") >= total,
        f"{total} requests were sent",
    )
    time.sleep(1.5)  # one more scrape: a request that was counted twice would show now
    for sample in prometheus.query("sum by (model, code, protocol) (jettison_requests_total)"):
        labels = sample["metric"]
        key = (labels["model"], labels["code"], labels["protocol"])
        seen.scraped[key] = float(sample["value"][1])
    seen.batches = prometheus.number("sum(jettison_compute_duration_seconds_count)")
    seen.up = prometheus.number('min_over_time(up{job="jettison"}[10s])')
    seen.alerts = prometheus.ask("alerts")["alerts"]
    seen.rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    seen.logs = server.logs
    seen.exposed = httpx.get(f"{server.url}/metrics").content
    return seen


def test_the_counter_equals_what_clients_counted(seen: Seen) -> None:
    """For each model, code and protocol, the counter is exactly the number of answers received."""
    assert sum(seen.counted.values()) > 100
    assert {code for _, code, _ in seen.counted} == {"200", "400", "404"}
    assert seen.counted[GOOD, "200", "grpc"] > 10
    assert seen.scraped == dict(seen.counted)


def test_every_scrape_succeeded(seen: Seen) -> None:
    """Prometheus could read the exposition each time."""
    assert seen.up == 1
    assert 0 < seen.batches <= sum(n for (_, code, _), n in seen.counted.items() if code == "200")


@pytest.mark.parametrize("name", expressions())
def test_every_panel_has_data(seen: Seen, name: str) -> None:
    """Prometheus runs the expression and gives numbers for it."""
    values = [float(sample["value"][1]) for sample in seen.answers[name]]
    assert values, f"{name} gave nothing: {filled(expressions()[name])}"
    assert not np.isnan(values).all(), name


def test_promtool_accepts_all_metrics_of_a_server_at_work(seen: Seen) -> None:
    """Also those of the monitors: names, types, help and units are as Prometheus wants them."""
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=seen.exposed, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    assert b"_created" not in seen.exposed


def test_the_numbers_of_the_panels_make_sense(seen: Seen) -> None:
    """Rates above 0, no failures, latency below a second, a mean batch of at least one row."""

    def value(name: str, **labels: str) -> float:
        found = [s for s in seen.answers[name] if labels.items() <= s["metric"].items()]
        return float(found[0]["value"][1])

    assert value("Requests: ") > 10
    assert value("Failed: ") == 0
    assert 0 < value("p99 latency: {{model}}", model=GOOD) < 1
    assert value("Rows in a batch: {{model}} mean", model=GOOD) > 4
    assert 0 < value("Engine busy: {{model}} {{instance}}", model=GOOD) < 1
    assert value("CPU: cores") > 0
    assert value("Memory: {{instance}}") > 20e6
    assert value("GPU busy: {{instance}} {{gpu}}", gpu="0") == 0.37
    reasons = {s["metric"]["reason"] for s in seen.answers["Refused by reason: {{reason}}"]}
    assert reasons == {"shape", "unknown"}


def test_the_uncertified_model_raises_an_alert_and_nothing_else_does(seen: Seen) -> None:
    """One alert fires, about the model without a certificate, with its reason."""
    firing = [alert for alert in seen.alerts if alert["state"] == "firing"]
    assert [alert["labels"]["alertname"] for alert in firing] == ["JettisonUncertified"]
    assert firing[0]["labels"]["model"] == BARE
    assert firing[0]["labels"]["reason"]


def test_every_rule_is_evaluated_without_a_fault(seen: Seen) -> None:
    """Prometheus found no rule that it can't compute on real series."""
    assert len(seen.rules) >= 13
    assert {
        rule["name"]: rule.get("lastError", "") for rule in seen.rules if rule["health"] != "ok"
    } == {}


def test_the_variables_of_the_dashboard_find_job_and_models(seen: Seen) -> None:
    """What the menus of Grafana are filled from is there."""
    wanted = {v["name"] for v in dashboard()["templating"]["list"] if v["type"] == "query"}
    found = seen.answers["What is served: "]
    assert wanted == {"job", "model"}
    assert {sample["metric"]["model"] for sample in found} == {GOOD, BARE}
    assert {sample["metric"]["job"] for sample in found} == {"jettison"}


def test_requests_are_logged_without_their_contents(seen: Seen) -> None:
    """Access lines are JSON with id, model, version, code and milliseconds, and no numbers sent."""
    lines = [line for line in seen.logs if line["event"] == "request"]
    assert lines
    for line in lines:
        assert {"request_id", "model", "version", "code", "ms", "protocol"} <= set(line)
        assert "data" not in json.dumps(line)


def test_requests_of_both_protocols_leave_traces(seen: Seen) -> None:
    """A collector received spans that continue the trace of each caller, with queue and compute."""
    if not _has_tracing():
        pytest.skip("NO OPENTELEMETRY: pip install 'jettison[tracing]' to try traces")
    for trace in (HTTP_TRACE, GRPC_TRACE):
        assert bytes.fromhex(trace) in seen.spans
    for name in (b"infer good", b"queue", b"compute", b"jettison.batch_rows"):
        assert name in seen.spans
