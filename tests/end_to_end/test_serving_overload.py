"""A real server is offered far more than it can do."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="NO SERVER: pip install 'jettison[serve]'")
pytest.importorskip("httptools", reason="NO SERVER: pip install 'jettison[serve]'")

from benchmarks.load import tensors
from benchmarks.load.loops import Target, closed_loop, run
from benchmarks.load.metrics_page import Sample, by_label, scrape
from benchmarks.load.recording import Load
from benchmarks.served import models
from benchmarks.served.identity import Identity, base_row, numbered_requests
from benchmarks.served.servers import Recipe, Server, free_port, start

NAME = "slow"
CAP = 4
DEADLINE_SECONDS = 2.0
NEXT_BOUND = "2.5"
"""The first bucket of the server's histogram beyond the deadline."""
CLIENTS = 800
"""Far more than may wait (about 300 rows), so that requests are refused however slow this is."""
SECONDS = 3.0
MEBIBYTE = 2**20
GROWTH = 200 * MEBIBYTE
"""Far more than a full queue takes (about 100 rows of 256 bytes), far less than what is offered
in `test_memory_is_bounded_when_bodies_are_large` (more than 300 MiB)."""


def serve(folder: Path, network: models.Network, *options: str) -> Server:
    """Starts a server with one bundle, as a user does."""
    model = models.network_model(folder / "model", network)
    bundle = models.bundle_of(model, folder / "bundle", (1, CAP))
    port = free_port()
    command = [
        *(sys.executable, "-m", "jettison", "serve", f"{NAME}={bundle}", "--no-grpc"),
        *("--port", str(port), "--max-batch-rows", str(CAP), "--allow-uncertified", *options),
    ]
    first = tensors.binary_request(tensors.infer_path(NAME), {"x": base_row()})
    return start(Recipe("jettison", command, {}, folder, port, first), folder)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model that takes several ms a row."""
    network = models.Network(hidden=(1024, 1024), again=63, echo=True)
    folder = tmp_path_factory.mktemp("overload")
    server = serve(folder, network, "--deadline-seconds", str(DEADLINE_SECONDS))
    yield server
    server.tree.end()


@dataclass(frozen=True)
class Overload:
    """What came of one overload; metrics are those after it, less those before."""

    load: Load
    identity: Identity
    codes: dict[str, float]
    samples: list[Sample]
    most_waiting: float


@pytest.fixture(scope="module")
def overload(slow: Server) -> Overload:
    """Clients that each want an answer at once, with the number of each request in its row."""
    path = tensors.infer_path(NAME)
    before = by_label(scrape(slow.address), "jettison_requests_total", "code")
    identity = Identity()
    seen: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            seen.extend(by_label(scrape(slow.address), "jettison_queue_rows", "model").values())

    watcher = threading.Thread(target=watch)
    watcher.start()
    target = Target(slow.address, numbered_requests(path), identity.look)
    load = run(closed_loop(target, CLIENTS, SECONDS))
    ended.set()
    watcher.join()
    samples = scrape(slow.address)
    after = by_label(samples, "jettison_requests_total", "code")
    codes = {code: count - before.get(code, 0.0) for code, count in after.items()}
    return Overload(load, identity, codes, samples, max(seen, default=0.0))


def test_what_is_too_much_is_refused_with_a_time_to_come_again(overload: Overload) -> None:
    """429 appears, each with Retry-After; nothing but answers and refusals comes back."""
    statuses = overload.identity.statuses
    assert statuses[429] > 0
    assert statuses[200] > 0
    assert set(statuses) <= {200, 429, 504}
    assert overload.identity.without_retry == 0


def test_every_accepted_request_gets_its_own_answer_once(overload: Overload) -> None:
    """The echo is the number that was sent; no answer is missing, doubled or another's."""
    assert overload.identity.wrong == 0
    assert overload.identity.several_times == 0
    assert overload.load.unasked == 0
    assert overload.load.unanswered == 0


def test_client_and_server_count_alike(overload: Overload) -> None:
    """The counter of the server grew by exactly what the client saw, status by status."""
    ours = {str(status): float(n) for status, n in overload.identity.statuses.items()}
    theirs = {code: n for code, n in overload.codes.items() if n}
    assert theirs == ours


def test_nothing_is_computed_after_its_deadline(overload: Overload) -> None:
    """By the server's own clock, no row that was computed had waited beyond the first bucket bound
    after the deadline.
    """
    name = "jettison_queue_duration_seconds"
    whole = sum(by_label(overload.samples, f"{name}_count", "model").values())
    within = by_label(overload.samples, f"{name}_bucket", "le")[NEXT_BOUND]
    assert 0 < within == whole


def test_the_queue_keeps_its_bound(overload: Overload) -> None:
    """Never more rows wait than the server says may."""
    limit = by_label(overload.samples, "jettison_queue_rows_limit", "model")[NAME]
    assert 0 < overload.most_waiting <= limit


def test_memory_is_bounded_when_bodies_are_large(tmp_path: Path) -> None:
    """More than 300 MiB of requests pass through, and the server keeps next to nothing."""
    server = serve(tmp_path, models.Network(hidden=(16, 16), echo=True))
    try:
        rows = base_row().repeat(4096, axis=0)
        path = tensors.infer_path(NAME)
        request = tensors.binary_request(path, {"x": rows})
        target = Target(server.address, (request,))
        run(closed_loop(target, 16, 0.5))
        before = server.tree.rss_bytes()
        sent, largest = 0, before
        end = time.monotonic() + 300.0
        while sent < 300 * MEBIBYTE and time.monotonic() < end:
            load = run(closed_loop(target, 16, 0.5))
            sent += load.status.size * len(request)
            largest = max(largest, server.tree.rss_bytes())
            assert set(load.counts()) <= {200, 413, 429}
        assert sent >= 300 * MEBIBYTE, "the server took less than 300 MiB in five minutes"
        assert largest - before < GROWTH
    finally:
        server.tree.end()
