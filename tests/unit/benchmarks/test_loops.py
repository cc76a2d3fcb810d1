"""The generators judge a server that stands still: the open loop must show it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

pytest.importorskip("httptools", reason="NO HTTPTOOLS: pip install 'jettison[serve]'")

from benchmarks.load import connection as connections
from benchmarks.load.connection import Address, Reply, ask, connect, get, post
from benchmarks.load.loops import Target, close_all, closed_loop, exact_loop, open_loop, run
from benchmarks.load.plain_server import running
from benchmarks.load.recording import Load

REQUEST = post("/", b"hello", {})
STALL_SECONDS = 1.0
CLIENTS = 4


@pytest.fixture(scope="module")
def stalling() -> Iterator[Address]:
    """Works for a second, stands still for one, and so on."""
    with running("--stall-every", "1.0", "--stall", str(STALL_SECONDS)) as address:
        yield address


def test_an_open_loop_shows_a_stall(stalling: Address) -> None:
    """Half of the time nobody is answered, so at 300/s p99 is most of the stall."""
    load = run(open_loop(Target(stalling, (REQUEST,)), rate=300, seconds=4.0))
    assert load.unanswered == 0
    assert load.counts() == {200: load.status.size}
    assert np.quantile(load.latency, 0.99) > 0.7 * STALL_SECONDS


def test_a_closed_loop_hides_a_stall_and_says_so(stalling: Address) -> None:
    """Each stall delays one request of each client; the run is flagged, the stall named."""
    load = run(closed_loop(Target(stalling, (REQUEST,)), CLIENTS, 3.0))
    slow = int((load.latency > 0.7 * STALL_SECONDS).sum())
    stalls = int(load.seconds / STALL_SECONDS) + 1
    assert CLIENTS <= slow <= CLIENTS * stalls
    assert "closed loop" in load.flags()[0]
    assert "a stall of" in load.flags()[1]


def test_arrivals_are_poisson() -> None:
    """Gaps between scheduled instants are exponential: mean 1 / rate, deviation as large."""
    with running() as address:
        load = run(open_loop(Target(address, (REQUEST,)), rate=1000, seconds=2.0, seed=4))
    gaps = np.diff(load.scheduled[np.argsort(load.scheduled)])
    assert abs(gaps.mean() - 0.001) < 0.0001
    assert abs(gaps.std() - 0.001) < 0.00015


def test_the_same_seed_gives_the_same_arrivals() -> None:
    """Two runs differ by their start only."""
    with running() as address:
        first, second = (
            run(open_loop(Target(address, (REQUEST,)), 500, 0.5, seed=1)) for _ in range(2)
        )
    one, two = (np.sort(load.scheduled) for load in (first, second))
    assert np.diff(one) == pytest.approx(np.diff(two), abs=1e-6)


def test_each_answer_is_handed_on_with_its_number() -> None:
    """Both loops number their requests from 0 and tell of each once."""
    seen: list[int] = []

    def look(number: int, reply: Reply) -> None:
        seen.append(number)
        assert reply.body == b"ok"

    with running() as address:
        target = Target(address, (REQUEST,), look)
        load = run(open_loop(target, 500, 0.5))
        assert sorted(seen) == list(range(load.status.size))
        seen.clear()
        load = run(closed_loop(target, 3, 0.3))
    assert sorted(seen) == list(range(load.status.size))


@asynccontextmanager
async def odd_server(answer: bytes, *, close: bool = False) -> AsyncIterator[Address]:
    """Sends the same bytes whatever is asked."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if close:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0.01)


def test_a_second_answer_to_one_request_is_counted() -> None:
    """An answer that nobody asked for is a fault of the server that must not go unseen."""

    async def twice() -> int:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        async with odd_server(answer * 2) as address:
            one = await connect(address)
            await ask(one, get("/"))
            await asyncio.sleep(0.01)
            await close_all([one])
        return one.unasked

    assert run(twice()) == 1


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"not http\r\n\r\n"])
def test_a_broken_connection_is_an_answer_too(answer: bytes) -> None:
    """No answer, half of one or nonsense: the request ends as broken, not never."""

    async def broken() -> Reply:
        async with odd_server(answer, close=True) as address:
            one = await connect(address)
            return await ask(one, get("/"))

    assert run(broken()).status == connections.BROKEN


def test_answers_in_pieces_and_chunks_are_whole() -> None:
    """A body that comes in chunks is put together."""

    async def chunks() -> Reply:
        answer = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Name: Value\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        async with odd_server(answer) as address:
            one = await connect(address)
            reply = await ask(one, get("/"))
            await close_all([one])
            return reply

    reply = run(chunks())
    assert (reply.body, reply.headers["x-name"]) == (b"abcde", "Value")


def test_a_connection_takes_one_request_at_a_time() -> None:
    """Sending while an answer is awaited is a mistake of the caller."""

    async def both() -> None:
        async with odd_server(b"") as address:
            one = await connect(address)
            one.send(get("/"), lambda reply: None)
            with pytest.raises(RuntimeError, match="busy"):
                one.send(get("/"), lambda reply: None)
            await close_all([one])

    run(both())


def test_clients_go_on_when_the_server_closes_connections() -> None:
    """Each answer ends its connection; both loops open others and count every answer."""

    async def both() -> tuple[Load, Load]:
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
        async with odd_server(answer, close=True) as address:
            target = Target(address, (REQUEST,))
            return await closed_loop(target, 3, 0.3), await open_loop(target, 200, 0.3)

    closed, opened = run(both())
    assert closed.status.size > 3
    for load in (closed, opened):
        assert load.counts() == {200: load.status.size}
        assert load.unanswered == 0


def test_timers_of_the_event_loop_are_exact() -> None:
    """The best of 30 sleeps of 0.3 ms takes less than the millisecond that epoll rounds up to."""

    async def best() -> float:
        taken = []
        for _ in range(30):
            begun = time.perf_counter()
            await asyncio.sleep(0.0003)
            taken.append(time.perf_counter() - begun)
        return min(taken)

    with asyncio.Runner(loop_factory=exact_loop) as runner:
        assert 0.0003 <= runner.run(best()) < 0.001
