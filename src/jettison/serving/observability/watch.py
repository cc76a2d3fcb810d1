"""`Observability`: the one object that the rest of the server tells what happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jettison.errors import MissingDependency
from jettison.serving.observability.detail import Detail, Ended, Meter
from jettison.serving.observability.exposition import Exposition, Readings
from jettison.serving.observability.logs import AccessLog
from jettison.serving.observability.series import SeriesTable
from jettison.serving.requests import BatchObserver

if TYPE_CHECKING:
    from jettison.serving.observability.tracing import Tracing
    from jettison.serving.versions import ServedVersion

NOTHING = Detail()

LONGEST_NAME = 100
"""Characters of a model's name that a log line or a trace repeats: callers write what they like."""


class Observability:
    """Counts, logs and traces. Every method is called on the event loop of the server, and is quick.

    A request is told twice: `began()` when its first byte is there, `request(...)` once when it has
    ended, whatever became of it. Who refuses a request before a batcher saw it also tells
    `rejected(...)`; batchers tell theirs through the observer.
    """

    def __init__(self, tracing: Tracing | None = None, access: AccessLog | None = None) -> None:
        """Makes metrics of its own: nothing is shared with another server in the process.

        Args:
            tracing: makes a trace of each request; `None` costs nothing.
            access: logs requests; `None` logs none.
        """
        try:
            from prometheus_client import CollectorRegistry, ProcessCollector
        except ImportError as error:
            raise MissingDependency(
                "serving needs prometheus_client; run: pip install 'jettison[serve]'"
            ) from error
        self._tracing = tracing
        self._access = access
        self._logged = False
        self._metering = asyncio.Lock()
        self._series = SeriesTable()
        self._exposition = Exposition(self._series)
        self._registry = CollectorRegistry()
        self._registry.register(self._exposition)
        ProcessCollector(registry=self._registry)

    @property
    def series(self) -> SeriesTable:
        """The numbers of each version, for the page."""
        return self._series

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended."""
        return self._exposition.in_flight

    def batches(self, model: str, version: str) -> BatchObserver:
        """What the batcher of a version tells about its work."""
        return self._series.opened(model, version)

    def began(self) -> None:
        """A request has begun; `request` follows exactly once."""
        self._exposition.in_flight += 1

    def request(
        self,
        model: str,
        version: str,
        code: int,
        seconds: float,
        protocol: str,
        detail: Detail = NOTHING,
    ) -> None:
        """A request has ended.

        Args:
            model: that was asked for, whatever the caller wrote.
            version: that answered; empty when none was chosen.
            code: HTTP status, also for gRPC (the status of the same meaning).
            seconds: from first to last byte.
            protocol: `http` or `grpc`.
            detail: for the log line and the trace.
        """
        if self.count(model, version, code, seconds, protocol):
            self.describe(model, version, code, seconds, protocol, detail)

    def count(self, model: str, version: str, code: int, seconds: float, protocol: str) -> bool:
        """The first half of `request`: counts; says whether `describe` is to follow.

        Most calls of a busy server are counted only: whoever keeps the details need not gather
        them.
        """
        if self._exposition.in_flight:
            self._exposition.in_flight -= 1
        self._series.of(model, version).request(code, seconds, protocol)
        self._logged = self._access is not None and self._access.takes(code)
        return self._logged or self._tracing is not None

    def describe(
        self,
        model: str,
        version: str,
        code: int,
        seconds: float,
        protocol: str,
        detail: Detail,
    ) -> None:
        """The second half of `request`: the log line and the trace."""
        ended = Ended(model[:LONGEST_NAME], version, code, seconds, protocol, detail)
        if self._access is not None and self._logged:
            self._access.write(ended)
        if self._tracing is not None:
            self._tracing.request(ended)

    def rejected(self, model: str, reason: str) -> None:
        """A request was refused before a batcher saw it.

        Args:
            model: that was asked for, whatever the caller wrote.
            reason: a key of `jettison.errors.REFUSALS`.
        """
        self._series.of(model, "").rejected(reason)

    def loaded(self, version: ServedVersion) -> None:
        """A version is served from now on."""
        self._series.loaded(version)

    def unloaded(self, version: ServedVersion) -> None:
        """A version is not served any more."""
        self._series.unloaded(version)

    def watch_quality(self, readings: Readings) -> None:
        """Adds gauges that another part computes when a scrape asks (each source once)."""
        self._exposition.sources.append(readings)

    def watch_energy(self, meter: Meter) -> None:
        """Exposes the joules of a meter with the name of its rung of the energy ladder."""
        self._exposition.meter = meter

    def watch_gpus(self, readings: Readings) -> None:
        """Exposes what GPUs tell about themselves."""
        self._exposition.gpus = readings

    async def exposed(self) -> tuple[bytes, str]:
        """As `expose`, but meter and GPUs are read on a thread: that may take milliseconds."""
        if self._exposition.meter is None and self._exposition.gpus is None:
            return self.expose()
        async with self._metering:
            await asyncio.to_thread(self._exposition.look_at_machine)
            try:
                return self.expose()
            finally:
                self._exposition.forget_machine()

    def expose(self) -> tuple[bytes, str]:
        """The body and the content type of `/metrics`."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
