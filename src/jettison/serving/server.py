"""The server process: one event loop, HTTP and gRPC beside each other, a clean start and end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jettison.domain.files import write_atomically
from jettison.errors import InternalError, MissingDependency, UsageError
from jettison.serving.listening import bind, free_port, port_of, shown_host, tls_arguments
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource, computes_on_gpu
from jettison.worker_client import QUIET

if TYPE_CHECKING:
    from jettison.serving.http.app import Application
    from jettison.serving.observability import Observability
    from jettison.serving.repository import Repository
    from jettison.serving.versions import ServedVersion

PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "orjson", "prometheus_client", "grpc")

ACCEPTING_SECONDS = 0.05
"""After the signal, connections that were made but not yet accepted are still taken for so long."""

LINGER_SECONDS = 0.5
"""Then open connections that are idle stay so long: a request that is on its way is answered, with
a word that the connection closes. A connection that is closed at once would lose it."""

POLL_SECONDS = 0.02
JOIN_SECONDS = 10.0

logger = logging.getLogger("jettison.serving.server")


def serve(sources: Sequence[ServedSource], settings: ServeSettings) -> int:
    """Serves until a signal ends it; SIGTERM and SIGINT drain, a second one ends at once.

    Args:
        sources: what to serve.
        settings: how.

    Returns:
        The exit code: 0, or 1 if accepted requests were left when the time to drain was over.

    Raises:
        UsageError: for a port in use, TLS files that don't fit, or a folder that isn't there.
        CheckFailed: for a bundle that is not what it says, or that no certificate covers here.
    """
    os.environ.update(QUIET)
    _require_packages()
    import uvloop

    with (
        _observed(sources, settings) as watch,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
    ):
        code = loop.run(_Process(sources, settings, watch).run())
    _leave_native_code(code)
    return code


def _leave_native_code(code: int) -> None:
    """Waits for threads of models; ends the process without them if one never comes back.

    An interpreter that shuts down while such a thread is in native code can crash on its way out.
    """
    for thread in threading.enumerate():
        if thread.name.startswith("jettison-"):
            thread.join(JOIN_SECONDS)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)


def _require_packages() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependency(
            f"serving needs {', '.join(missing)}; run: pip install 'jettison[serve]'"
        )


@contextlib.contextmanager
def _observed(sources: Sequence[ServedSource], settings: ServeSettings) -> Iterator[Observability]:
    """Logs as JSON lines on standard error, and traces where they are asked for."""
    from jettison.energy import EnergySettings, best_meter
    from jettison.serving.observability import Observability
    from jettison.serving.observability.gpus import gpu_readings
    from jettison.serving.observability.logs import AccessLog, json_logs
    from jettison.serving.observability.tracing import Tracing, exporting_to

    rate = settings.access_lines_per_second
    endpoint = settings.trace_endpoint
    tracing = Tracing(exporting_to(endpoint), settings.trace_share) if endpoint else None
    watch = Observability(tracing, AccessLog(rate) if rate else None)
    watch.watch_energy(best_meter(EnergySettings(gpu=computes_on_gpu(sources))))
    if (gpus := gpu_readings()) is not None:
        watch.watch_gpus(gpus)
    try:
        with json_logs(sys.stderr, also=("uvicorn.error",)):
            yield watch
    finally:
        if tracing is not None:
            tracing.close()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server can be reached."""

    http: str
    grpc: str

    def __str__(self) -> str:
        return f"{self.http} (gRPC: {self.grpc})" if self.grpc else self.http


class Leaving:
    """The application; once the server leaves, each answer says that its connection closes."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.direct = app.direct
        self.leaving = False

    def leave(self) -> None:
        """From now on."""
        self.leaving = True
        self.direct.is_open = False

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if not self.leaving:
            return self._app(scope, receive, send)

        async def last(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return self._app(scope, receive, last)


class _Process:
    """One run of the server."""

    def __init__(
        self, sources: Sequence[ServedSource], settings: ServeSettings, watch: Observability
    ) -> None:
        self._sources = sources
        self._settings = settings
        self._watch = watch

    async def run(self) -> int:
        """Listens, loads, says that it is ready, waits for a signal, and drains."""
        from jettison.serving.repository import Repository

        settings, addresses, listener = self._listen()
        repository = Repository(self._sources, self._watch, settings)
        self._watch.watch_quality(repository.readings)
        stop = asyncio.Event()
        _on_signal(stop)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(listener.close)
            front = await stack.enter_async_context(
                _Front.open(repository, self._watch, settings, listener)
            )
            if await _first(repository.start(), stop, front.failed()):
                gc.collect()
                gc.freeze()  # what was loaded stays; a collection need not walk through it again
                self._say_ready(repository, addresses)
                await _first(None, stop, front.failed())
            return await self._drain(repository, front)

    def _listen(self) -> tuple[ServeSettings, Addresses, socket.socket]:
        """Takes the ports; gives the settings with the ports that were free."""
        asked = self._settings
        tls_arguments(asked)
        listener = bind(asked.host, asked.http_port, "--port")
        try:
            grpc_port = asked.grpc_port
            if grpc_port is not None:
                grpc_port = free_port(asked.host, grpc_port, "--grpc-port")
        except UsageError:
            listener.close()
            raise
        settings = replace(asked, http_port=port_of(listener), grpc_port=grpc_port)
        scheme, host = "https" if asked.tls_certificate else "http", shown_host(asked.host)
        grpc = f"{host}:{grpc_port}" if grpc_port is not None else ""
        return settings, Addresses(f"{scheme}://{host}:{settings.http_port}", grpc), listener

    def _say_ready(self, repository: Repository, addresses: Addresses) -> None:
        versions = [v for name in repository.names() for v in repository.versions(name)]
        told = "; ".join(f"{v.name} {v.version} {v.label}" for v in versions)
        print(f"jettison: ready at {addresses}: {told}", flush=True)
        logger.info("ready", extra={"fields": {"http": addresses.http, "grpc": addresses.grpc}})
        if self._settings.ready_file:
            facts = {
                "pid": os.getpid(),
                "http": addresses.http,
                "grpc": addresses.grpc,
                "models": [_facts(version) for version in versions],
            }
            write_atomically(self._settings.ready_file, json.dumps(facts, indent=2) + "\n")

    async def _drain(self, repository: Repository, front: _Front) -> int:
        """Stops listening, answers what was accepted, and lets go of the models."""
        if self._settings.ready_file:
            Path(self._settings.ready_file).unlink(missing_ok=True)
        logger.info("draining", extra={"fields": {"in_flight": self._watch.in_flight}})
        repository.stop_soon()
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await front.close()
                await repository.drain()
        except TimeoutError:
            left = self._watch.in_flight
            if not left:
                return 0
            logger.error("drain timed out", extra={"fields": {"left": left}})
            print(
                f"jettison: {left} accepted request(s) were left after {self._settings.drain_seconds:g}"
                " s of draining; allow more with --drain-seconds",
                file=sys.stderr,
            )
            return 1
        logger.info("stopped")
        return 0


class _Front:
    """HTTP and gRPC, listening."""

    def __init__(self, app: Leaving, http: Any, task: asyncio.Task[None], grpc: Any) -> None:
        self._app = app
        self._http = http
        self._task = task
        self._grpc = grpc

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        repository: Repository,
        watch: Observability,
        settings: ServeSettings,
        listener: socket.socket,
    ) -> AsyncIterator[_Front]:
        """Starts both, and ends what is left of them at the end of the block."""
        from jettison.serving.http.app import create_app
        from jettison.serving.http.connection import http_config
        from jettison.serving.rpc.server import start_grpc

        application = create_app(repository, watch, settings)
        app = Leaving(application)
        more = tls_arguments(settings)
        http = _quiet_server(http_config(app, settings, interface="asgi3", loop="none", **more))
        task = asyncio.create_task(http.serve(sockets=[listener]), name="http")
        grpc = None
        try:
            while not (http.started or task.done()):
                await asyncio.sleep(POLL_SECONDS)
            if settings.grpc_port is not None:
                grpc = await start_grpc(repository, watch, settings)
            yield cls(app, http, task, grpc)
        finally:
            http.should_exit = http.force_exit = True
            await asyncio.gather(task, return_exceptions=True)
            if grpc is not None:
                await grpc.stop(None)
            application.close()

    async def failed(self) -> None:
        """Waits until HTTP ends by itself, which it never should.

        Raises:
            InternalError: when it does.
        """
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()):
            raise InternalError(f"the HTTP server ended: {error!r}") from error
        if not self._http.should_exit:
            raise InternalError("the HTTP server ended by itself")

    async def close(self) -> None:
        """Takes no new connections, answers what comes on the open ones, and closes them."""
        self._app.leave()
        await asyncio.sleep(ACCEPTING_SECONDS)
        for server in self._http.servers:
            server.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + LINGER_SECONDS
        while self._http.server_state.connections and loop.time() < until:
            await asyncio.sleep(POLL_SECONDS)
        self._http.should_exit = True
        if self._grpc is None:
            await self._task
        else:
            await asyncio.gather(self._task, self._grpc.stop(3600.0))


def _quiet_server(config: Any) -> Any:
    """A uvicorn server that leaves the signals to us."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(config)


def _on_signal(stop: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT sets `stop`; the next has its default effect: the end, at once."""
    loop = asyncio.get_running_loop()
    ours = (signal.SIGTERM, signal.SIGINT)

    def stopping() -> None:
        stop.set()
        for one in ours:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)

    for one in ours:
        loop.add_signal_handler(one, stopping)


async def _first(work: Any, stop: asyncio.Event, failing: Any) -> bool:
    """Waits for the work, or for `stop`, which cancels it; raises what goes wrong in either.

    Returns:
        Whether the work was done.
    """
    stopped = asyncio.ensure_future(stop.wait())
    failed = asyncio.ensure_future(failing)
    tasks = {stopped, failed}
    working = None
    if work is not None:
        working = asyncio.ensure_future(work)
        tasks.add(working)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if working is not None and working.done():
            working.result()
            return not stop.is_set()
        if failed.done():
            failed.result()
        return False
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _facts(version: ServedVersion) -> dict[str, object]:
    return {
        "name": version.name,
        "version": version.version,
        "digest": version.digest,
        "label": version.label,
        "max_batch_rows": version.policy.max_batch_rows,
        "max_queue_rows": version.policy.max_queue_rows,
        "notes": list(version.notes),
    }
