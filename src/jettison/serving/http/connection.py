"""Connections that wait for no one: slow senders are cut off, and whoever hangs up is forgotten."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from jettison.serving.http.direct import DirectCall, DirectCalls
from jettison.serving.http.exchange import CONNECTION
from jettison.serving.http.heads import Head
from jettison.serving.settings import ServeSettings

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than the pools of common clients and proxies,
which would otherwise meet a connection that closes as they use it."""

BACKLOG = 2048

MOST_BESIDE_BYTES = 1024 * 1024
"""Of a request beside its body: head, trailer, sizes of chunks. They have no limit in the parser,
which keeps them; as many bytes as the body has are allowed on top, for chunks that are tiny."""


def _farewell(status: bytes, told: bytes) -> bytes:
    """A whole answer, behind which the connection closes."""
    error = b'{"error":"%b"}' % told
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"connection: close\r\n\r\n%b" % (status, len(error), error)
    )


_TIMED_OUT = _farewell(b"408 Request Timeout", b"the request did not arrive in whole in time")
_TOO_MUCH = _farewell(
    b"431 Request Header Fields Too Large",
    b"the request has more than a MiB beside its body; send fewer and shorter headers",
)


class GuardedConnection(HttpToolsProtocol):
    """uvicorn's connection, with limits on how long a request takes to arrive, and on its head.

    The limit runs from the start of the connection, or of a later request on it, to the last byte
    of the body. It costs one timer a connection and nothing a request. While a call is waiting for
    its rows, the connection knows its task and cancels it when the caller hangs up.
    """

    read_seconds = math.inf

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading_since = math.inf
        self._idle_since = math.inf
        self._beside_bytes = 0
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

    def data_received(self, data: bytes) -> None:
        self._beside_bytes += len(data)
        super().data_received(data)
        if self._beside_bytes > MOST_BESIDE_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_MUCH)
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        self._beside_bytes -= 2 * len(body)
        super().on_body(body)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._reading_since == math.inf:
            self._reading_since = self.loop.time()
        self._idle_since = math.inf
        self.scope["extensions"] = {CONNECTION: self}  # type: ignore[dict-item]

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._reading_since = math.inf
        self._beside_bytes = 0

    def _look(self) -> None:
        """Cuts the connection off if its request is late or none comes any more, else looks again."""
        now = self.loop.time()
        late_at = min(self._reading_since, now) + self.read_seconds
        left_at = self._idle_since + self.timeout_keep_alive
        if now < late_at and now < left_at:
            self._timer = self.loop.call_at(min(late_at, left_at), self._look)
            return
        self._timer = None
        if not self.transport.is_closing():
            if now >= late_at:
                self.transport.write(_TIMED_OUT)
            self.transport.close()


class DirectConnection(GuardedConnection):
    """Lets calls for tensors go straight to the queue; all other requests go uvicorn's way.

    A call may go straight where nothing is under way on its connection, and nothing about it is
    unusual. Its head is read by the parser, or was read before and is the same to the byte.
    """

    calls: DirectCalls

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._between = True
        self._chunk = b""
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._direct: DirectCall | None = None

    def data_received(self, data: bytes) -> None:
        if self._between:
            if self._is_free() and (found := self.calls.heads.find(data)) is not None:
                self._unset_keepalive_if_required()
                self._begin(*found)
                return
            self._chunk = data
        super().data_received(data)
        self._chunk = b""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._between = False

    def on_headers_complete(self) -> None:
        head = self._straight()
        if head is None:
            super().on_headers_complete()
        else:
            self._head, self._body = head, []

    def on_body(self, body: bytes) -> None:
        if self._head is None:
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        head, self._head = self._head, None
        self._between = True
        if head is None:
            super().on_message_complete()
            return
        if self._chunk:
            self.calls.heads.keep(self._chunk, head)
        self._begin(head, b"".join(self._body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._direct is not None:
            self._direct.hang_up()
            self._direct = None
        super().connection_lost(exc)
        if isinstance(self.cycle, DirectCall):
            # The two know each other; only the garbage collector would find them.
            self.cycle = None

    def answered(self, call: DirectCall, status: int, headers: bytes, body: bytes) -> None:
        """Sends an answer in one write, and lets the next request have its turn."""
        call.response_complete = True
        self._direct = None
        state = self.server_state
        state.total_requests += 1
        more = self.calls.lines_of(state.default_headers)
        closes = not (call.keep_alive and self.calls.is_open)
        if closes:
            more += b"connection: close\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], more, headers, b"\r\n", body)))
        if closes:
            self.transport.close()
            return
        if self.pipeline:
            self.flow.resume_reading()
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._idle_since = self.loop.time()

    def _is_free(self) -> bool:
        """Whether a call may go straight now."""
        cycle = self.cycle
        most = self.limit_concurrency
        return (
            (cycle is None or cycle.response_complete)
            and self.calls.is_open
            and not self.pipeline
            and not self.flow.write_paused
            and not (most is not None and len(self.connections) >= most)
            and not self.transport.is_closing()
        )

    def _straight(self) -> Head | None:
        """The head of the request that is being read, if it may go straight."""
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        if not parser.should_keep_alive() or parser.should_upgrade() or not self._is_free():
            return None
        return self.calls.read_head(self.url, self.headers)

    def _begin(self, head: Head, body: bytes) -> None:
        self._reading_since = self._idle_since = math.inf
        self._beside_bytes = 0
        call = self._direct = self.calls.new_call(self, head)
        self.cycle = call  # type: ignore[assignment]
        call.begin(body)


class App(Protocol):
    """An application with both ways in."""

    direct: DirectCalls

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Answers a request the usual way."""
        ...


def http_config(app: App, settings: ServeSettings, **more: Any) -> uvicorn.Config:
    """How uvicorn serves the application of `create_app`.

    Args:
        app: of `jettison.serving.http.app.create_app`.
        settings: of the server.
        more: further arguments of `uvicorn.Config`, for example TLS files.
    """
    own = {"read_seconds": settings.read_seconds, "calls": app.direct}
    connection = type("Connection", (DirectConnection,), own)
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
