"""The straight way from the connection to the queue: it answers as the other way does."""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import socket
from typing import Any

import numpy as np
import pytest

from benchmarks.load import tensors
from jettison.serving.http.direct import DirectCall, DirectCalls
from jettison.serving.oip.answers import AnswerWriter
from jettison.serving.oip.http_messages import CallReader
from tests.serving_bundle import FEATURES
from tests.serving_live import LiveServer
from tests.unit.serving.http.test_calls import INFER, body

OTHER_WAY = f"{INFER}?the=other"
OWN = {"x-request-id", "date"}


@pytest.fixture
def straight(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> list[DirectCall]:
    """The calls that go straight."""
    seen: list[DirectCall] = []
    begin = DirectCall.begin

    def noted(call: DirectCall, content: bytes) -> None:
        seen.append(call)
        begin(call, content)

    monkeypatch.setattr(DirectCall, "begin", noted)
    return seen


def binary(rows: int = 1, value: float = 0.5) -> bytes:
    """A whole request with raw tensors."""
    arrays = {"x": np.full((rows, FEATURES), value, np.float32)}
    return tensors.binary_request(INFER, arrays, {"Host": "localhost"})


def read(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, content = data.partition(b"\r\n\r\n")
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(content) < int(lines[b"content-length"]):
        content += connection.recv(65536)
    return head, content


@pytest.mark.parametrize(
    ("told", "headers"),
    [
        (body(), {}),
        (body(3), {}),
        (body() | {"id": "mine"}, {}),
        (body() | {"outputs": [{"name": "scores"}]}, {}),
        (body() | {"parameters": {"binary_data_output": True}}, {}),
        (body(), {"x-request-id": "theirs"}),
        (body(shape=[1, 3]), {}),
        (body(name="y"), {}),
        (body(data=[None] * FEATURES), {}),
        (body(data=[1e300] * FEATURES), {}),
        (body() | {"parameters": {"timeout": -1}}, {}),
        ([], {}),
        (body(), {"inference-header-content-length": "5"}),
        (body(rows=99), {"x-request-id": "large"}),
    ],
)
def test_both_ways_answer_alike(
    live: LiveServer, straight: list[DirectCall], told: Any, headers: dict[str, str]
) -> None:
    """Status, headers and body are the same straight, straight again, and the other way."""
    with live.client() as client:
        replies = [
            client.post(path, json=told, headers=headers) for path in (INFER, INFER, OTHER_WAY)
        ]
    assert len(straight) == 2
    first, again, other = (
        (r.status_code, r.content, {k: v for k, v in r.headers.items() if k not in OWN})
        for r in replies
    )
    assert first == again == other
    assert all(r.headers["x-request-id"] for r in replies)
    if "x-request-id" in headers:
        assert {r.headers["x-request-id"] for r in replies} == {headers["x-request-id"]}


def test_an_unknown_model_is_404_either_way(live: LiveServer, straight: list[DirectCall]) -> None:
    """Refusals of the repository come through."""
    with live.client() as client:
        replies = [client.post(f"/v2/models/no/infer{q}", json=body()) for q in ("", "?a=b")]
    assert [reply.status_code for reply in replies] == [404, 404]
    assert replies[0].json() == replies[1].json()
    assert len(straight) == 1


def test_raw_tensors_are_answered_again_and_again(
    live: LiveServer, straight: list[DirectCall]
) -> None:
    """The same head and the same JSON with other values give the answers of these values."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        answers = []
        for value in (0.5, -0.5, 0.25, 0.5):
            connection.sendall(binary(value=value))
            head, content = read(connection)
            assert head.startswith(b"HTTP/1.1 200 ")
            answers.append(content)
        connection.sendall(binary(value=np.nan))
        head, content = read(connection)
    assert answers[0] == answers[3]
    assert len(set(answers)) == 3
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"nan at row 0" in content
    assert len(straight) == 5
    # A connection may rest for long: it keeps no tensors meanwhile.
    assert all(call._call is call._accepted is None for call in straight[:-1])


def test_pieces_of_a_request_and_requests_in_one_piece(
    live: LiveServer, straight: list[DirectCall]
) -> None:
    """However the bytes come, each request is answered once and in order."""
    sent = binary(1) + binary(2) + binary(3)
    for size in (1, 7, 150, len(sent)):
        with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for place in range(0, len(sent), size):
                connection.sendall(sent[place : place + size])
            answer = b""
            while answer.count(b'"model_name"') < 3:
                piece = connection.recv(65536)
                assert piece, answer
                answer += piece
        places = [answer.index(b'"shape":[%d,' % rows) for rows in (1, 2, 3)]
        assert places == sorted(places)
    assert straight


def test_whoever_leaves_is_told_to_close(live: LiveServer) -> None:
    """While the server leaves, nothing goes straight; what does already says that it closes."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        with live.still("mlp"):
            connection.sendall(binary())
            while not live.watch_in_flight():
                pass
            app = _direct_of(live)
            app.is_open = False
        try:
            head, _ = read(connection)
            assert b"connection: close" in head
            assert connection.recv(10) == b""
        finally:
            app.is_open = True


def _direct_of(live: LiveServer) -> DirectCalls:
    found: DirectCalls = live.app.direct
    return found


def test_a_fault_in_one_answer_does_not_take_the_others_along(live: LiveServer) -> None:
    """What is told to callers after a batch goes on behind one that fails."""
    calls = _direct_of(live)
    told: list[int] = []

    def tell(what: int) -> None:
        if what == 1:
            raise ValueError("one")
        told.append(what)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        failures: list[BaseException] = []
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        for what in range(4):
            calls.soon(tell, what)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        loop.set_exception_handler(None)
        assert [str(failure) for failure in failures] == ["one"]

    live.call(test)
    assert told == [0, 2, 3]


def test_the_head_of_a_stranger_is_not_remembered(live: LiveServer) -> None:
    """A request for another host is refused again, however often it comes."""
    told = json.dumps(body()).encode()
    sent = b"POST %b HTTP/1.1\r\nhost: evil.example\r\ncontent-length: %d\r\n\r\n%b" % (
        INFER.encode(),
        len(told),
        told,
    )
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
            connection.sendall(sent)
            assert connection.recv(65536).startswith(b"HTTP/1.1 421 ")


def calls_of_python(live: LiveServer, request: bytes, times: int = 50) -> float:
    """Function calls on the event loop for each request, one after the other on one connection."""
    profile = cProfile.Profile()
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        for number in range(times + 5):
            if number == 5:
                live.call(profile.enable)
            connection.sendall(request)
            assert read(connection)[0].startswith(b"HTTP/1.1 200 ")
        live.call(profile.disable)
    return float(pstats.Stats(profile).total_calls) / times  # type: ignore[attr-defined]


MOST_CALLS = 260
"""About 200 are needed for a batch of one; what a busy machine does to clocks does not change it."""


def test_a_call_takes_few_steps(live: LiveServer) -> None:
    """The gate against slowness that no neighbour disturbs: steps of Python, not seconds. JSON may take no more than raw tensors, and the other way takes far more."""
    told = json.dumps(body()).encode()
    texts = [
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b"
        % (path.encode(), len(told), told)
        for path in (INFER, OTHER_WAY)
    ]
    raw, text, other = (calls_of_python(live, sent) for sent in (binary(), *texts))
    assert raw < MOST_CALLS, raw
    assert text < MOST_CALLS, text
    assert other > 1.3 * text, (other, text)


@pytest.mark.parametrize("owner", [CallReader, AnswerWriter])
def test_a_fault_of_ours_is_answered_and_logged(
    live: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type[Any],
) -> None:
    """Whatever goes wrong in reading or writing is a 500 for its caller, with a trace in the log."""

    def failing(*_: Any) -> None:
        raise ZeroDivisionError("of ours")

    with live.client() as client:
        with monkeypatch.context() as patched:
            patched.setattr(owner, "read" if owner is CallReader else "write", failing)
            reply = client.post(INFER, json=body())
        assert reply.status_code == 500
        assert "fault of this server" in reply.json()["error"]
        assert "of ours" not in reply.text
        assert client.post(INFER, json=body()).status_code == 200
    (line,) = [record for record in caplog.records if record.name == "jettison.serving.http"]
    assert line.exc_info is not None
    assert line.exc_info[0] is ZeroDivisionError
