"""`Head`: what the head of a request says, if it is a call for tensors like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jettison.serving.http.exchange import HEADER_LENGTH, REQUEST_ID

MODELS, INFER = b"/v2/models/", b"/infer"

LARGEST_BODY_BYTES = 256 * 1024
"""Longer bodies are read on a thread, by the other way in."""

KEPT = 1024
"""Heads that are kept, for all connections; the one that came first goes first."""

LONGEST = 2048
"""Bytes of a head that is kept."""

_END = b"\r\n\r\n"
_UNUSUAL = frozenset({b"content-encoding", b"expect", b"transfer-encoding", b"upgrade"})
_ESCAPES = frozenset(b"%?#")


class Head(NamedTuple):
    """A call for tensors.

    Attributes:
        name, version: of the model; the version is empty where the caller named none.
        body_bytes: that follow.
        header_length: bytes of JSON before raw tensors; `None` where there are none.
        authorization, api_key, request_id, traceparent, tracestate: headers; empty where missing.
    """

    name: str
    version: str
    body_bytes: int
    header_length: int | None
    authorization: bytes
    api_key: bytes
    request_id: str
    traceparent: str
    tracestate: str


def read_head(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Head | None:
    """Reads what the parser found; `None` for everything that wants more than the straight way.

    Args:
        url: as it was sent.
        headers: names in lower case.
    """
    if not (url.startswith(MODELS) and url.endswith(INFER)) or not _ESCAPES.isdisjoint(url):
        return None
    known = dict(headers)
    length = known.get(b"content-length")
    json_bytes = known.get(HEADER_LENGTH)
    if length is None or not _UNUSUAL.isdisjoint(known) or not _is_number(length):
        return None
    if json_bytes is not None and not _is_number(json_bytes):
        return None
    if int(length) > LARGEST_BODY_BYTES or not url.isascii():
        return None
    whose = url[len(MODELS) : -len(INFER)].decode("ascii")
    name, _, version = whose.partition("/versions/")
    if not name:
        return None
    return Head(
        name,
        version,
        int(length),
        None if json_bytes is None else int(json_bytes),
        known.get(b"authorization", b""),
        known.get(b"x-api-key", b""),
        known.get(REQUEST_ID, b"").decode("latin-1"),
        known.get(b"traceparent", b"").decode("latin-1"),
        known.get(b"tracestate", b"").decode("latin-1"),
    )


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 12


class KnownHeads:
    """Heads that the parser has read before, by their very bytes.

    A client sends the same head with each of its calls. Bytes that are equal from the first to the
    empty line are read alike, so they are read once; anything else goes to the parser.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body, where `data` is exactly one request with a head that is known."""
        end = data.find(_END) + len(_END)
        head = self._known.get(data[:end])
        if head is None or len(data) - end != head.body_bytes:
            return None
        return head, data[end:]

    def keep(self, data: bytes, head: Head) -> None:
        """Keeps a head that the parser read from `data`, if that was exactly one request.

        One with an id or a trace of its own will not come again.
        """
        end = data.find(_END) + len(_END)
        whole = end >= len(_END) and len(data) - end == head.body_bytes
        if not whole or end > LONGEST or head.request_id or head.traceparent:
            return
        if len(self._known) >= KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[data[:end]] = head
