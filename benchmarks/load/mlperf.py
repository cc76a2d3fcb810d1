"""MLPerf LoadGen (package mlcommons-loadgen) in the Server scenario, over HTTP."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load.connection import Address, Connection, Reply, connect
from benchmarks.load.loops import close_all, exact_loop

CONNECTIONS = 64
NANOSECONDS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Offer:
    """What LoadGen is asked to do.

    Attributes:
        rate: mean arrivals per second (Poisson).
        seconds: at least.
        bound_ms: latency at p99 up to which its verdict is VALID.
        seed: of the schedule.
    """

    rate: float
    seconds: float
    bound_ms: float
    seed: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What LoadGen found.

    Attributes:
        verdict: `VALID` or `INVALID`, as its summary says.
        percentiles_ms: share (0.99) -> latency from the scheduled instant.
    """

    verdict: str
    percentiles_ms: Mapping[float, float]


class HttpSystem:
    """The system under test: hands each query to an event loop in a thread of its own."""

    def __init__(self, address: Address, request: bytes) -> None:
        self._address = address
        self._request = request
        self._loop = exact_loop()
        self._idle: list[Connection] = []
        self._waiting: list[int] = []
        self._failed = 0
        self._busy = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> HttpSystem:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result(30.0)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30.0)
        self._loop.close()

    @property
    def failed(self) -> int:
        """Queries that were not answered with 200."""
        return self._failed

    def issue(self, queries: Any) -> None:
        """Is called by LoadGen in its own thread."""
        for query in queries:
            self._loop.call_soon_threadsafe(self._arrive, query.id)

    def flush(self) -> None:
        """Is called by LoadGen; nothing is held back."""

    async def _connect(self) -> None:
        self._idle = [await connect(self._address) for _ in range(CONNECTIONS)]

    async def _close(self) -> None:
        await close_all(self._idle)

    def _arrive(self, number: int) -> None:
        while self._idle:
            connection = self._idle.pop()
            # A server closes connections that have not been used for long.
            if connection.idle:
                self._send(connection, number)
                return
        self._waiting.append(number)
        if self._busy + len(self._opening) >= CONNECTIONS:
            return
        task = self._loop.create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        """One more connection, for whoever waits longest by then."""
        connection = await connect(self._address)
        if self._waiting:
            self._send(connection, self._waiting.pop(0))
        else:
            self._idle.append(connection)

    def _send(self, connection: Connection, number: int) -> None:
        import mlperf_loadgen

        def done(reply: Reply) -> None:
            answer = mlperf_loadgen.QuerySampleResponse(number, 0, 0)
            mlperf_loadgen.QuerySamplesComplete([answer])
            self._failed += reply.status != 200
            self._busy -= 1
            if self._waiting and connection.idle:
                self._send(connection, self._waiting.pop(0))
            elif connection.idle:
                self._idle.append(connection)

        self._busy += 1
        connection.send(self._request, done)


def server_scenario(address: Address, request: bytes, offer: Offer, logs: Path) -> Verdict:
    """Runs LoadGen against a server.

    Args:
        address: of the server.
        request: sent for every query.
        offer: rate, time and bound.
        logs: folder for LoadGen's own logs.

    Raises:
        ValueError: if its logs can't be read, or a query was not answered with 200.
    """
    import mlperf_loadgen as lg

    logs.mkdir(parents=True, exist_ok=True)
    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.Server
    settings.mode = lg.TestMode.PerformanceOnly
    settings.server_target_qps = offer.rate
    settings.server_target_latency_ns = int(offer.bound_ms * NANOSECONDS_PER_MS)
    settings.server_target_latency_percentile = 0.99
    settings.min_duration_ms = int(offer.seconds * 1e3)
    settings.min_query_count = 100
    settings.schedule_rng_seed = offer.seed + 1
    output = lg.LogOutputSettings()
    output.outdir = str(logs)
    log = lg.LogSettings()
    log.log_output = output
    with HttpSystem(address, request) as system:
        sut = lg.ConstructSUT(system.issue, system.flush)
        qsl = lg.ConstructQSL(1024, 128, _nothing, _nothing)
        lg.StartTestWithLogSettings(sut, qsl, settings, log)
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)
        if system.failed:
            raise ValueError(f"{system.failed} of LoadGen's queries were not answered with 200")
    return read_summary((logs / "mlperf_log_summary.txt").read_text())


def _nothing(samples: Any) -> None:
    """Samples need no loading: every query sends the same bytes."""


def read_summary(text: str) -> Verdict:
    r"""Reads LoadGen's verdict and percentiles from its summary.

    Raises:
        ValueError: if there is no verdict in it.

    >>> found = read_summary("Result is : VALID\n99.00 percentile latency (ns)   : 2000000")
    >>> found.verdict, found.percentiles_ms
    ('VALID', {0.99: 2.0})
    """
    verdict = re.search(r"^Result is\s*:\s*(\w+)", text, re.M)
    if verdict is None:
        raise ValueError("the summary of LoadGen holds no verdict")
    found = re.findall(r"^([\d.]+) percentile latency \(ns\)\s*:\s*(\d+)", text, re.M)
    return Verdict(verdict[1], {float(p) / 100.0: int(ns) / NANOSECONDS_PER_MS for p, ns in found})
