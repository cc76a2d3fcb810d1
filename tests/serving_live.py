"""A real server on free loopback ports, in a thread of the test's own process.

Tests reach into its event loop with `call`, for example to hold the engine still while a request
waits. What needs a process of its own (signals, TLS, start-up) is in `serving_process.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import httpx
import uvicorn
import uvloop

from jettison.serving.http.app import Application, create_app
from jettison.serving.http.connection import http_config
from jettison.serving.observability import Observability
from jettison.serving.repository import Repository
from jettison.serving.rpc.server import start_grpc
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource

START_SECONDS = 60.0


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class LiveServer:
    """Serves for as long as the block runs.

    Args:
        sources: what to serve.
        make_settings: gets the gRPC port; `None` where there is to be none.
        grpc: whether to listen for gRPC.
    """

    def __init__(
        self,
        sources: Sequence[ServedSource],
        make_settings: Callable[..., ServeSettings] = ServeSettings,
        *,
        grpc: bool = False,
        **settings: Any,
    ) -> None:
        self._sources = sources
        self.grpc_port = free_port() if grpc else None
        self.settings = make_settings(http_port=0, grpc_port=self.grpc_port, **settings)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="live-server")
        self.port = 0
        self.repository: Repository
        self.watch: Observability
        self.app: Application
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def __enter__(self) -> LiveServer:
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            raise AssertionError("the server did not start")
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_SECONDS)

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Address of HTTP."""
        return f"http://{self.host}"

    def client(self, key: str = "") -> httpx.Client:
        """A client for the server."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # Nothing is encrypted here; reading the certificates of the system takes half a second.
        return httpx.Client(base_url=self.url, headers=headers, timeout=30.0, verify=False)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls something on the event loop of the server, and gives what it gives."""

        async def on_loop() -> Any:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(START_SECONDS)

    @contextlib.contextmanager
    def still(self, name: str) -> Iterator[None]:
        """Keeps the engine of a model busy, so that requests wait, for as long as the block runs."""
        gate, reached = threading.Event(), threading.Event()

        def hold() -> None:
            reached.set()
            gate.wait(START_SECONDS)

        engine = self.call(self.repository.get, name).engine
        self.call(lambda: engine._thread.call(hold) and None)
        assert reached.wait(START_SECONDS)
        try:
            yield
        finally:
            gate.set()

    def waiting_rows(self, name: str) -> int:
        """Rows of a model that wait now."""
        rows: int = self.call(lambda: self.repository.get(name).batcher.waiting_rows)
        return rows

    def watch_in_flight(self) -> int:
        """Calls that have begun and not ended."""
        count: int = self.call(lambda: self.watch.in_flight)
        return count

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as failure:  # noqa: BLE001 - raised again by `__enter__`
            self._failure = failure
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.watch = Observability()
        self.repository = Repository(self._sources, self.watch, self.settings)
        await self.repository.start()
        self.app = app = create_app(self.repository, self.watch, self.settings)
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
            self.port = listener.getsockname()[1]
            http = uvicorn.Server(http_config(app, self.settings, loop="none"))
            serving = asyncio.create_task(http.serve(sockets=[listener]))
            grpc = None
            if self.grpc_port is not None:
                grpc = await start_grpc(self.repository, self.watch, self.settings)
            while not http.started:
                await asyncio.sleep(0.01)
            self._started.set()
            await self._stop.wait()
            http.should_exit = http.force_exit = True
            await serving
            if grpc is not None:
                await grpc.stop(0)
            await self.repository.drain()
