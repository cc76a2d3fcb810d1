"""`Exchange`: one HTTP request as it comes in over ASGI, and the answer that goes back."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import orjson

from jettison.errors import RequestRefused
from jettison.serving.request_ids import RequestIds

if TYPE_CHECKING:
    from jettison.serving.http.connection import GuardedConnection

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONNECTION = "jettison.connection"
JSON, OCTETS = b"application/json", b"application/octet-stream"

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


class ClientGone(Exception):
    """The caller hung up before its request was there."""


class Exchange:
    """One request and its answer.

    Attributes:
        scope: of ASGI.
        headers: those that the server reads, by lower-case name.
        request_id: of the request, as later outcomes name it; empty until it is settled.
    """

    __slots__ = (
        "_body_read",
        "_ids",
        "_receive",
        "_send",
        "_shown_id",
        "headers",
        "request_id",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, ids: RequestIds) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        self.headers: dict[bytes, bytes] = headers
        self._body_read = headers.keys().isdisjoint((b"content-length", b"transfer-encoding"))
        self._ids = ids
        self._shown_id = b""
        self.request_id = ""

    def header(self, name: bytes) -> bytes:
        """One of the headers that are read; empty where it is missing."""
        return self.headers.get(name, b"")

    def identify(self, call_id: str) -> str:
        """Settles the id of the request.

        Args:
            call_id: from the body; empty for none.

        Returns:
            The id that later outcomes name.
        """
        sent = self.headers.get(REQUEST_ID, b"").decode("latin-1")
        self.request_id, shown = self._ids.of(call_id, sent)
        self._shown_id = shown.encode()
        return self.request_id

    @property
    def shown_id(self) -> bytes:
        """What goes back in the header `x-request-id`."""
        if not self._shown_id:
            self.identify("")
        return self._shown_id

    @property
    def trace(self) -> tuple[str, str]:
        """The headers `traceparent` and `tracestate`."""
        if b"traceparent" not in self.headers:
            return "", ""
        return (
            self.headers.get(b"traceparent", b"").decode("latin-1"),
            self.headers.get(b"tracestate", b"").decode("latin-1"),
        )

    @property
    def connection(self) -> GuardedConnection | None:
        """The connection, where `jettison.serving.http.connection` made it."""
        extensions: Mapping[str, Any] | None = self.scope.get("extensions")
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
        encoding = self.headers.get(b"content-encoding")
        if encoding is not None and encoding != b"identity":
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
            (REQUEST_ID, self.shown_id),
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
                headers = [*message.get("headers", ()), (REQUEST_ID, self.shown_id)]
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
        "at a time, or start it with a larger --max-body-mb",
    )


def _shown(value: bytes) -> str:
    return repr(value[:40].decode("ascii", "replace"))
