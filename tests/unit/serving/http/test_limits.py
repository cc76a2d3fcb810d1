"""Bodies without end, senders without haste, callers who leave, queues that are full."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.serving.sources import ServedSource
from tests.serving_bundle import FEATURES
from tests.serving_live import LiveServer
from tests.unit.serving.http.test_calls import INFER, body

MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000
QUEUE_ROWS = 4


@pytest.fixture(scope="module")
def small(bundle: Path) -> Iterator[LiveServer]:
    """A server with a queue of four rows that cuts slow senders off after half a second."""
    settings = {
        "max_batch_rows": QUEUE_ROWS,
        "max_queue_bytes": 1,
        "max_body_bytes": MEGABYTE,
        "read_seconds": 0.5,
        "deadline_seconds": 20.0,
    }
    with LiveServer([ServedSource("mlp", bundle)], **settings) as server:
        yield server


def connect(server: LiveServer) -> socket.socket:
    """A plain connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def head(more: str = "", path: str = INFER) -> bytes:
    """The head of a request, without the line that ends it."""
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{more}".encode()


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    pieces = []
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


@pytest.mark.parametrize("path", [INFER, "/v2/models/mlp/predict", "/v2/repository/index"])
def test_a_declared_gigabyte_is_refused_unread(small: LiveServer, path: str) -> None:
    """The answer comes before any of the body was sent, and the connection closes."""
    with connect(small) as connection:
        connection.sendall(head(f"content-length: {GIGABYTE}\r\n\r\n", path))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert b"1,000,000 bytes" in answer


def test_a_body_without_a_length_is_read_no_further_than_the_limit(small: LiveServer) -> None:
    """Chunks that never end: the server stops reading, answers and closes."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with connect(small) as connection:
        connection.sendall(head("transfer-encoding: chunked\r\n\r\n"))
        try:
            while sent < GIGABYTE:
                connection.sendall(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(connection)
    assert sent < 50 * MEGABYTE
    assert answer.startswith(b"HTTP/1.1 413 ") or answer == b""


def test_the_largest_body_is_taken(small: LiveServer) -> None:
    """A body of exactly the limit is read; one byte more is not."""
    told = json.dumps(body())
    fits = told + " " * (MEGABYTE - len(told))
    with small.client() as client:
        assert client.post(INFER, content=fits).status_code == 200
        assert client.post(INFER, content=fits + " ").status_code == 413


def test_a_chunked_body_is_read(small: LiveServer) -> None:
    """A body in pieces without a length is as good as any."""
    told = json.dumps(body()).encode()

    def pieces() -> Iterator[bytes]:
        for place in range(0, len(told), 50):
            yield told[place : place + 50]

    with small.client() as client:
        assert client.post(INFER, content=pieces()).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST ",
        head("x-slow: "),
        head("content-length: 100\r\n\r\n") + b'{"inputs"',
        head("transfer-encoding: chunked\r\n\r\n") + b"5\r\nhello\r\n",
    ],
    ids=["nothing", "a word", "half a head", "half a body", "half the chunks"],
)
def test_a_slow_sender_is_cut_off(small: LiveServer, sent: bytes) -> None:
    """Who has not sent a whole request in time is told so and cut off; others are answered."""
    with connect(small) as connection:
        connection.sendall(sent)
        with small.client() as client:
            assert client.post(INFER, json=body()).status_code == 200
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (head("x-long: "), b"a" * 1024),
        (head(), b"x-many: a\r\n" * 100),
        (head("transfer-encoding: chunked\r\n\r\n") + b"2\r\n{}\r\n0\r\n", b"x-last: a\r\n" * 100),
    ],
    ids=["header", "headers", "trailer"],
)
def test_a_head_without_an_end_is_cut_off(live: LiveServer, begun: bytes, piece: bytes) -> None:
    """What is no body has a limit too: nothing that a caller sends is kept without one."""
    sent = 0
    with connect(live) as connection:
        connection.sendall(begun)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 4 * MEGABYTE:
                connection.sendall(piece)
                sent += len(piece)
        answer = read_all(connection)
    assert sent < 4 * MEGABYTE or answer.startswith(b"HTTP/1.1 431 "), answer[:200]


def test_a_trickle_buys_no_time(small: LiveServer) -> None:
    """A byte now and then does not keep a connection open."""
    with connect(small) as connection:
        connection.sendall(head("x-slow: "))
        end = time.monotonic() + 20
        cut = False
        while not cut and time.monotonic() < end:
            time.sleep(0.05)
            try:
                connection.sendall(b"a")
            except (BrokenPipeError, ConnectionResetError):
                cut = True
    assert cut


def post(connection: socket.socket, told: bytes) -> None:
    """Sends one call."""
    connection.sendall(head(f"content-length: {len(told)}\r\n\r\n") + told)


def test_an_idle_connection_is_no_slow_one(small: LiveServer) -> None:
    """Between requests a connection may rest longer than a request may take."""
    told = json.dumps(body()).encode()
    with connect(small) as connection:
        for pause in (1.2, 0.0):
            post(connection, told)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            time.sleep(pause)


def test_waiting_for_an_answer_is_not_slow(small: LiveServer) -> None:
    """The limit is for the request: an answer may take longer."""
    with connect(small) as connection:
        with small.still("mlp"):
            post(connection, json.dumps(body()).encode())
            time.sleep(1.2)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", [INFER, "/v2/models/mlp/predict"])
@pytest.mark.parametrize("padding", [0, 200_000], ids=["small", "large"])
def test_rows_of_a_caller_who_hangs_up_are_dropped(
    small: LiveServer, path: str, padding: int
) -> None:
    """A connection that closes takes its waiting rows along; nobody computes them."""
    rows = [[0.5] * FEATURES]
    told = json.dumps({"rows": rows} if path.endswith("predict") else body()).encode()
    told += b" " * padding
    with small.still("mlp"):
        first = connect(small)
        first.sendall(head(f"content-length: {len(told)}\r\n\r\n", path) + told)
        # Its batch must have begun, or the second would be taken into it.
        until(lambda: bool(small.repository.get("mlp").batcher._computing))
        second = connect(small)
        second.sendall(head(f"content-length: {len(told)}\r\n\r\n", path) + told)
        until(lambda: small.waiting_rows("mlp") == 1)
        second.close()
        until(lambda: small.waiting_rows("mlp") == 0)
        first.close()
    until(lambda: small.watch_in_flight() == 0)
    with small.client() as client:
        assert client.post(INFER, json=body()).status_code == 200
        assert 'code="499"' in client.get("/metrics").text


def test_a_full_queue_says_when_to_come_back(small: LiveServer) -> None:
    """With the queue full, a request is refused with 429 and Retry-After, at once."""
    connections = []
    told = json.dumps(body()).encode()
    with small.still("mlp"):
        for place in range(QUEUE_ROWS + 1):
            connection = connect(small)
            post(connection, told)
            connections.append(connection)
            until(lambda wanted=place: small.watch_in_flight() == wanted + 1)  # type: ignore[misc]
            until(lambda wanted=place: small.waiting_rows("mlp") == wanted)  # type: ignore[misc]
        with small.client() as client:
            refused = client.post(INFER, json=body())
            predicted = client.post("/v2/models/mlp/predict", json={"rows": [[0.5] * FEATURES]})
            assert small.waiting_rows("mlp") == QUEUE_ROWS
            for reply in (refused, predicted):
                assert reply.status_code == 429
                assert int(reply.headers["retry-after"]) >= 1
                assert "wait already" in reply.json()["error"]
    for connection in connections:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.close()


def test_large_bodies_do_not_pile_up_before_the_encoder(small: LiveServer) -> None:
    """What waits to be encoded counts by its bytes too; once nothing waits, it is answered."""
    connections = []
    predict = "/v2/models/mlp/predict"
    told = json.dumps({"rows": [[0.5] * FEATURES]}).encode() + b" " * 10_000
    with small.still("mlp"):
        for place in range(2):
            connection = connect(small)
            post(connection, json.dumps(body()).encode())
            connections.append(connection)
            until(lambda wanted=place: small.watch_in_flight() == wanted + 1)  # type: ignore[misc]
            until(lambda wanted=place: small.waiting_rows("mlp") == wanted)  # type: ignore[misc]
        with small.client() as client:
            refused = client.post(predict, content=told)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "bytes wait already" in refused.json()["error"]
    for connection in connections:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.close()
    with small.client() as client:
        assert client.post(predict, content=told).status_code == 200


@pytest.mark.parametrize("path", [INFER, "/v2/models/mlp/predict"])
def test_a_deadline_that_passes_is_504(small: LiveServer, path: str) -> None:
    """A timeout in microseconds ends the wait, whatever the engine does."""
    told: dict[str, Any] = {"rows": [[0.5] * FEATURES]} if path.endswith("predict") else body()
    with small.still("mlp"), small.client() as client:
        first = connect(small)
        post(first, json.dumps(body()).encode())
        until(lambda: small.watch_in_flight() == 1)
        reply = client.post(path, json=told | {"parameters": {"timeout": 50_000}})
        first.close()
    assert reply.status_code == 504
    assert "deadline" in reply.json()["error"]
    until(lambda: small.watch_in_flight() == 0)


def test_pipelined_requests_are_answered_in_order(small: LiveServer) -> None:
    """Two requests in one write get two answers, in order."""
    one, two = (json.dumps({**body(), "id": name}).encode() for name in ("one", "two"))
    with connect(small) as connection:
        for told, more in ((one, ""), (two, "connection: close\r\n")):
            connection.sendall(head(f"content-length: {len(told)}\r\n{more}\r\n") + told)
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.index(b'"id":"one"') < answer.index(b'"id":"two"')


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        head("content-length: abc\r\n\r\n"),
        head("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n") + b"0\r\n\r\nPOST /",
        head("content-length: 5\r\ncontent-length: 6\r\n\r\n") + b"hello!",
    ],
    ids=["TLS", "version", "length", "both lengths", "two lengths"],
)
def test_what_is_no_http_is_refused(small: LiveServer, sent: bytes) -> None:
    """Broken or ambiguous requests get 400 and the connection closes."""
    with connect(small) as connection:
        connection.sendall(sent)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
