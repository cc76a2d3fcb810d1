"""A keep-alive HTTP/1.1 connection that costs little: raw protocol, C parser, callbacks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

BROKEN = 0
"""The status of a request whose connection ended without an answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, or the end of the connection (`status` is `BROKEN`).

    Attributes:
        received: instant of `time.perf_counter()` at which it was whole.
        headers: names in lower case.
    """

    status: int
    body: bytes
    received: float
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


def post(path: str, body: bytes, headers: Mapping[str, str], host: str = "127.0.0.1") -> bytes:
    """Writes a whole POST request, ready to be sent."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, host: str = "127.0.0.1") -> bytes:
    """Writes a whole GET request, ready to be sent."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


class Connection(asyncio.Protocol):
    """One connection with at most one request under way.

    Attributes:
        open: whether it can take a request.
        unasked: answers that came when none was awaited; more than 0 is a fault of the server.
    """

    def __init__(self) -> None:
        self.open = False
        self.unasked = 0
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._done: Callable[[Reply], None] | None = None
        self._body: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._whole: list[Reply] = []

    @property
    def idle(self) -> bool:
        """Whether it is open and awaits nothing."""
        return self.open and self._done is None

    def send(self, request: bytes, done: Callable[[Reply], None]) -> None:
        """Sends one request; `done` is called once, with the answer or the broken connection."""
        if self._done is not None or self._transport is None:
            raise RuntimeError("the connection is busy or not open")
        self._done = done
        if not self.open:
            self._lost()
            return
        self._transport.write(request)

    def close(self) -> None:
        """Closes the connection; an answer under way is given up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is called by the event loop."""
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Is called by the event loop."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()
            return
        # Handed on outside the parser, so that a callback may send again.
        for reply in self._whole:
            done, self._done = self._done, None
            if done is None:
                self.unasked += 1
            else:
                done(reply)
        self._whole.clear()
        if not self.open:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Is called by the event loop."""
        self.open = False
        self._lost()

    def _lost(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(Reply(BROKEN, b"", time.perf_counter()))

    def on_message_begin(self) -> None:
        """Is called by the parser."""
        self._body.clear()
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Is called by the parser."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Is called by the parser."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Is called by the parser."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.open = False
        self._whole.append(Reply(status, body, time.perf_counter(), self._headers))


async def connect(address: Address) -> Connection:
    """Opens one connection.

    Raises:
        OSError: if nobody listens.
    """
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, address.host, address.port)
    return connection


async def ask(connection: Connection, request: bytes) -> Reply:
    """Sends one request and awaits its answer."""
    answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    connection.send(request, answered.set_result)
    return await answered
