"""Connections that wait for no one: slow senders are cut off, and whoever hangs up is forgotten."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jettison.serving.http.exchange import CONNECTION
from jettison.serving.settings import ServeSettings

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than the pools of common clients and proxies,
which would otherwise meet a connection that closes as they use it."""

BACKLOG = 2048

_LATE = b'{"error":"the request did not arrive in whole in time"}'
_TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%s" % (len(_LATE), _LATE)
)


class GuardedConnection(HttpToolsProtocol):
    """uvicorn's connection, with a limit on how long a request takes to arrive.

    The limit runs from the start of the connection, or of a later request on it, to the last byte
    of the body. It costs one timer a connection and nothing a request. While a call is waiting for
    its rows, the connection knows its task and cancels it when the caller hangs up.
    """

    read_seconds = math.inf

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading_since = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self.gone = False

    def cancel_if_gone(self, task: asyncio.Task[Any] | None) -> None:
        """Names the task that waits for rows; `None` once it has them."""
        self._waiting = task
        if task is not None and not self.pipeline:
            # uvicorn stops reading behind a large body; a caller who hangs up would not be seen.
            self.flow.resume_reading()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading_since = self.loop.time()
        self._timer = self.loop.call_later(self.read_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._reading_since == math.inf:
            self._reading_since = self.loop.time()
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._reading_since = math.inf

    def _look(self) -> None:
        """Cuts the connection off if its request is late, else looks again when it would be."""
        late_at = min(self._reading_since, self.loop.time()) + self.read_seconds
        if self.loop.time() < late_at:
            self._timer = self.loop.call_at(late_at, self._look)
            return
        self._timer = None
        if not self.transport.is_closing():
            self.transport.write(_TIMED_OUT)
            self.transport.close()


def http_config(app: Callable[..., Any], settings: ServeSettings, **more: Any) -> uvicorn.Config:
    """How uvicorn serves the application of `create_app`.

    Args:
        app: of `jettison.serving.http.app.create_app`.
        settings: of the server.
        more: further arguments of `uvicorn.Config`, for example TLS files.
    """
    limits = {"read_seconds": settings.read_seconds}
    connection = type("Connection", (GuardedConnection,), limits)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.http_port,
        http=connection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds),
        **({"interface": "asgi3"} | more),
    )
