"""Calls for tensors on the straight way: from the bytes of a connection to the queue and back.

No task, no future and no message of ASGI stands between. What is refused, counted and told is the
same as on the other way, `jettison.serving.http.model_calls`, which takes whatever is unusual.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from jettison.errors import JettisonError, RequestRefused
from jettison.serving.http.exchange import JSON, error_body, refusal_headers
from jettison.serving.http.heads import Head, KnownHeads, read_head
from jettison.serving.http.hosts import HostCheck
from jettison.serving.keys import KeyCheck
from jettison.serving.observability import Observability
from jettison.serving.oip.desks import Desk, Desks
from jettison.serving.oip.ending import CLIENT_GONE, OK, Ending
from jettison.serving.request_ids import RequestIds
from jettison.serving.requests import Answer
from jettison.serving.settings import ServeSettings

if TYPE_CHECKING:
    from jettison.serving.lineup import Accepted
    from jettison.serving.oip.call import InferCall
    from jettison.serving.repository import Repository

logger = logging.getLogger("jettison.serving.http")

_JSON_HEAD = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
_RAW_HEAD = (
    b"content-type: application/octet-stream\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
    b"inference-header-content-length: %d\r\n"
)


class Line(Protocol):
    """The connection of a call."""

    def answered(self, call: DirectCall, status: int, headers: bytes, body: bytes) -> None:
        """Sends an answer; `headers` are whole lines."""
        ...


class Doors(NamedTuple):
    """What both ways into a server share: who may ask, what calls are named, whom they ask."""

    keys: KeyCheck
    ids: RequestIds
    hosts: HostCheck


class DirectCalls:
    """What all calls of a server on this way share.

    Attributes:
        is_open: whether calls may go this way; not while the server leaves.
        heads: that were read before.
    """

    def __init__(
        self,
        repository: Repository,
        watch: Observability,
        settings: ServeSettings,
        doors: Doors,
    ) -> None:
        self.is_open = True
        self.heads = KnownHeads()
        self.repository = repository
        self.watch = watch
        self.keys, self.ids, self._hosts = doors
        self.desks = Desks()
        self._headers: list[tuple[bytes, bytes]] = []
        self._lines = b""
        self._due: deque[tuple[Callable[[Any], None], Any]] = deque()
        self.deadline_seconds = settings.deadline_seconds
        self._max_body_bytes = settings.max_body_bytes

    def new_call(self, line: Line, head: Head) -> DirectCall:
        """A call that has come in whole."""
        return DirectCall(self, line, head)

    def read_head(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> Head | None:
        """What the parser found, if such a call may go this way.

        Whatever is to be refused for its host or its length goes the other way, which says so.
        """
        head = read_head(url, headers)
        if head is None or head.body_bytes > self._max_body_bytes:
            return None
        if self._hosts.is_on:
            try:
                self._hosts.check(headers)
            except RequestRefused:
                return None
        return head

    def lines_of(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The headers of every answer as lines; uvicorn makes a new list of them each second."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        return self._lines

    def soon(self, tell: Callable[[Any], None], what: Any) -> None:
        """Tells a call something after the batcher has handed out its batch and begun the next.

        One wake-up of the loop serves all calls of a batch.
        """
        if not self._due:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._due.append((tell, what))

    def _deliver(self) -> None:
        due = self._due
        try:
            while due:
                tell, what = due.popleft()
                tell(what)
        finally:
            # A fault in one answer is reported by the loop, and does not take the others along.
            if due:
                asyncio.get_running_loop().call_soon(self._deliver)


class _Nobody:
    """Where uvicorn wakes whoever waits for a message: nobody does."""

    def set(self) -> None:
        """Wakes nobody."""


class DirectCall:
    """One call, from the last byte of its request to the last byte of its answer.

    For the batcher it is the caller. For uvicorn's connection it stands where a cycle would: while
    `response_complete` is false, what else arrives waits its turn, and a server that stops waits
    for it and has the connection closed behind it (`keep_alive`).
    """

    __slots__ = (
        "_accepted",
        "_call",
        "_calls",
        "_desk",
        "_ending",
        "_head",
        "_line",
        "_told",
        "disconnected",
        "keep_alive",
        "request_id",
        "response_complete",
        "shown_id",
    )

    message_event = _Nobody()

    def __init__(self, calls: DirectCalls, line: Line, head: Head) -> None:
        self._calls = calls
        self._line = line
        self._head = head
        self._ending = Ending(head.name, "http")
        self._accepted: Accepted | None = None
        self._call: InferCall | None = None
        self._desk: Desk | None = None
        self._told = False
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False
        self.request_id = ""
        self.shown_id = ""

    def begin(self, body: bytes) -> None:
        """Reads and checks the call, and lets it wait for its rows."""
        self._calls.watch.began()
        try:
            self._ask(body)
        except RequestRefused as refused:
            self._refuse(refused)
        except JettisonError as error:
            self._refuse(RequestRefused("failed", str(error)))
        except Exception as error:  # noqa: BLE001 - the parser would take it for wrong HTTP
            self._fault(error)

    def _ask(self, body: bytes) -> None:
        calls, head, ending = self._calls, self._head, self._ending
        ending.traceparent, ending.tracestate = head.traceparent, head.tracestate
        if calls.keys.is_asked:
            calls.keys.check(head.authorization, head.api_key)
        served = calls.repository.get(head.name, head.version)
        ending.version = served.version
        desk = self._desk = calls.desks.of(served)
        call = self._call = desk.reader.read(body, head.header_length)
        self.request_id, self.shown_id = calls.ids.of(call.call_id, head.request_id)
        request = call.request(served.model, served.pad, calls.deadline_seconds, self.request_id)
        ending.accepted(request)
        self._accepted = calls.repository.ask(head.name, request, self, head.version)

    def done(self) -> bool:
        """Whether the batcher has told it, or nobody waits any more."""
        return self._told or self.disconnected

    def set_result(self, answer: Answer, /) -> None:
        """Answers soon."""
        self._told = True
        self._calls.soon(self._answer, answer)

    def set_exception(self, refusal: RequestRefused, /) -> None:
        """Refuses soon."""
        self._told = True
        self._calls.soon(self._refuse, refusal)

    def hang_up(self) -> None:
        """The caller has gone: its rows are dropped."""
        if self.response_complete or self.disconnected:
            return
        self.disconnected = True
        if self._accepted is not None:
            self._accepted.cancel()
        self._ending.code = CLIENT_GONE
        self._tell()

    def _answer(self, answer: Answer) -> None:
        desk, call, accepted = self._desk, self._call, self._accepted
        if self.disconnected or desk is None or call is None or accepted is None:
            return
        try:
            body, json_bytes = desk.writer.write(call, answer)
        except RequestRefused as refused:
            self._refuse(refused)
            return
        except Exception as error:  # noqa: BLE001 - its caller is told, and the others go on
            self._fault(error)
            return
        shown = self.shown_id.encode()
        if json_bytes is None:
            headers = _JSON_HEAD % (len(body), shown)
        else:
            headers = _RAW_HEAD % (len(body), shown, json_bytes)
        self._ending.answered(answer)
        self._ending.code = OK
        self._line.answered(self, OK, headers, body)
        self._tell()
        accepted.observe(answer)

    def _refuse(self, refused: RequestRefused) -> None:
        if self.disconnected:
            return
        self._ending.refused(refused, self._calls.watch)
        if not self.shown_id:
            self.request_id, self.shown_id = self._calls.ids.of("", self._head.request_id)
        body = error_body(str(refused))
        more = (
            (b"content-type", JSON),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", self.shown_id.encode()),
            *refusal_headers(refused),
        )
        lines = b"".join(b"%b: %b\r\n" % line for line in more)
        self._line.answered(self, refused.status, lines, body)
        self._tell()

    def _fault(self, error: Exception) -> None:
        """A fault of this server: the log says which, the caller only that there was one."""
        logger.error("a call failed by a fault of this server", exc_info=error)
        self._refuse(RequestRefused("failed", "a fault of this server; its log says which"))

    def _tell(self) -> None:
        self._ending.request_id = self.request_id
        self._ending.tell(self._calls.watch)
        # An idle connection keeps its last call: that must not keep tensors.
        self._call = self._accepted = None
