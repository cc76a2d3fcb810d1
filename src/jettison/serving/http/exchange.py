"""`Exchange`: one HTTP request as it comes in over ASGI, and the answer that goes back."""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import orjson

from jettison.errors import RequestRefused

if TYPE_CHECKING:
    from jettison.serving.http.connection import GuardedConnection

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONNECTION = "jettison.connection"
JSON, OCTETS = b"application/json", b"application/octet-stream"
CLIENT_GONE = 499
"""Counted for a caller who hung up; nobody receives it (nginx's word for it)."""
LONGEST_ID = 128

HEADER_LENGTH = b"inference-header-content-length"
REQUEST_ID = b"x-request-id"
_READ = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
        b"x-api-key",
        HEADER_LENGTH,
        REQUEST_ID,
    }
)

_PROCESS = secrets.token_hex(4)
_NUMBERS = itertools.count(1)


class ClientGone(Exception):
    """The caller hung up before its request was there."""


class Exchange:
    """One request and its answer.

    Attributes:
        scope: of ASGI.
        headers: those that the server reads, by lower-case name.
        request_id: goes back in the header `x-request-id`: what the caller sent there, or made up.
        sent_id: what the caller sent in that header; empty for nothing usable.
    """

    __slots__ = ("_body_read", "_receive", "_send", "headers", "request_id", "scope", "sent_id")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        self.headers: dict[bytes, bytes] = headers
        self._body_read = headers.keys().isdisjoint((b"content-length", b"transfer-encoding"))
        self.sent_id = _usable(self.headers.get(REQUEST_ID, b""))
        self.request_id = self.sent_id or f"{_PROCESS}-{next(_NUMBERS):x}"

    def header(self, name: bytes) -> bytes:
        """One of the headers that are read; empty where it is missing."""
        return self.headers.get(name, b"")

    def named(self, call_id: str) -> None:
        """Takes the id in the body for the request's, where no header named one."""
        if call_id and not self.sent_id:
            self.request_id = _usable(call_id.encode()) or self.request_id

    @property
    def connection(self) -> GuardedConnection | None:
        """The connection, where `jettison.serving.http.connection` made it."""
        extensions = self.scope.get("extensions")
        return extensions.get(CONNECTION) if extensions else None

    @property
    def header_length(self) -> int | None:
        """Bytes of JSON before the raw tensors; `None` where there are none.

        Raises:
            RequestRefused: `malformed`, if it is no number.
        """
        value = self.headers.get(HEADER_LENGTH)
        if value is None:
            return None
        if not value.isdigit() or len(value) > 12:
            raise RequestRefused(
                "malformed",
                f"Inference-Header-Content-Length must be a number of bytes; got {_shown(value)}",
            )
        return int(value)

    async def body(self, limit: int) -> bytes:
        """Reads the body, and stops as soon as it is too long.

        Args:
            limit: bytes.

        Raises:
            RequestRefused: `too large`; `malformed` for a content encoding.
            ClientGone: if the caller hung up first.
        """
        declared = self.headers.get(b"content-length")
        if declared is not None and int(declared) > limit:
            raise _too_large(limit)
        encoding = self.headers.get(b"content-encoding", b"identity")
        if encoding != b"identity":
            raise RequestRefused(
                "malformed", f"bodies are read as they are; got content-encoding {_shown(encoding)}"
            )
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            piece: bytes = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                self._body_read = True
                return b"".join((*pieces, piece)) if pieces else piece
            pieces.append(piece)

    async def reply(
        self,
        status: int,
        body: bytes,
        content_type: bytes = JSON,
        more: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """Sends an answer.

        An answer that goes out before the body was read closes the connection: what else the
        caller sends is never read.
        """
        headers = [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            (REQUEST_ID, self.request_id.encode()),
            *more,
        ]
        if not self._body_read:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, refused: RequestRefused) -> None:
        """Sends the answer to a request that is refused."""
        await self.reply(refused.status, error_body(str(refused)), JSON, refusal_headers(refused))

    def replayed(self, body: bytes) -> Receive:
        """Gives a body that was read to another ASGI application."""
        messages = iter(({"type": "http.request", "body": body, "more_body": False},))

        async def receive() -> Message:
            for message in messages:
                return message
            return await self._receive()

        return receive

    def labelled(self) -> Send:
        """Lets another ASGI application answer; adds the request's id."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (REQUEST_ID, self.request_id.encode())]
                message = {**message, "headers": headers}
            await self._send(message)

        return send


def error_body(message: str) -> bytes:
    """The protocol's form of an error."""
    return orjson.dumps({"error": message})


def refusal_headers(refused: RequestRefused) -> tuple[tuple[bytes, bytes], ...]:
    """What a refusal says beside its body: when to ask again, which key is wanted."""
    headers: list[tuple[bytes, bytes]] = []
    if refused.retry_after_seconds is not None:
        seconds = max(1, math.ceil(refused.retry_after_seconds))
        headers.append((b"retry-after", str(seconds).encode()))
    if refused.reason == "key":
        headers.append((b"www-authenticate", b'Bearer realm="jettison"'))
    return tuple(headers)


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(
        "too large",
        f"the body has more than {limit:,} bytes, the most that this server takes; send fewer rows "
        "at a time, or start it with a larger --max-body-bytes",
    )


def _usable(sent: bytes) -> str:
    """An id that can stand in a header and a log line: short and printable."""
    if not 0 < len(sent) <= LONGEST_ID or not all(33 <= byte <= 126 for byte in sent):
        return ""
    return sent.decode("ascii")


def _shown(value: bytes) -> str:
    return repr(value[:40].decode("ascii", "replace"))
