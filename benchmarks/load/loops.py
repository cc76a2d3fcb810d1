"""The two generators. Closed: N clients. Open: Poisson arrivals, timed from the scheduled instant.

Both run on an event loop that waits with `select`: asyncio's `epoll` loop and libuv round timers up
to whole milliseconds, which is as long as a small model takes to answer.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from benchmarks.load.connection import BROKEN, Address, Connection, Reply, connect
from benchmarks.load.recording import Load, Recorder

T = TypeVar("T")

MOST_CONNECTIONS = 900
"""`select` takes file descriptors below 1,024."""

PATIENCE_SECONDS = 30.0
"""How long answers are awaited after the last request was sent."""

Check = Callable[[int, Reply], None]
"""Is told about each answer with the number of its request, from 0."""


def ignore(number: int, reply: Reply) -> None:
    """Looks at no answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go.

    Attributes:
        address: of the server.
        requests: whole requests, ready to be sent; taken in turn, again and again.
        check: is told about each answer.
    """

    address: Address
    requests: Iterable[bytes]
    check: Check = field(default=ignore)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a generator on an event loop with exact timers."""
    with asyncio.Runner(loop_factory=exact_loop) as runner:
        return runner.run(main)


def exact_loop() -> asyncio.AbstractEventLoop:
    """An event loop that waits with `select`, whose timers are good to a fraction of a ms."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def closed_loop(target: Target, clients: int, seconds: float) -> Load:
    """Each of N clients sends its next request as soon as it has its answer.

    Raises:
        OSError: if nobody listens.
    """
    closing = _ClosedLoop(target, clients)
    await closing.open()
    begun = time.perf_counter()
    await closing.play(begun + seconds)
    elapsed = time.perf_counter() - begun
    await close_all(closing.connections)
    return closing.recorder.load(
        "closed",
        elapsed,
        unasked=sum(c.unasked for c in closing.connections),
        unanswered=closing.under_way,
    )


class _ClosedLoop:
    """Callbacks of a closed loop: no task and no future per request."""

    def __init__(self, target: Target, clients: int) -> None:
        self.recorder = Recorder()
        self.connections: list[Connection] = []
        self.under_way = 0
        self._target = target
        self._requests = _numbered(target.requests)
        self._playing = clients
        self._end = 0.0
        self._all_stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        for _ in range(self._playing):
            self.connections.append(await connect(self._target.address))

    async def play(self, end: float) -> None:
        """Returns when every client has its last answer, or patience ends."""
        self._end = end
        for connection in tuple(self.connections):
            self._next(connection)
        try:
            async with asyncio.timeout(end - time.perf_counter() + PATIENCE_SECONDS):
                await self._all_stopped.wait()
        except TimeoutError:
            return  # what was not answered is counted in `under_way`

    def _next(self, connection: Connection) -> None:
        sent = time.perf_counter()
        if sent >= self._end:
            self._stop()
            return
        if not connection.open:
            task = asyncio.ensure_future(self._open_again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        number, request = next(self._requests)
        self.under_way += 1

        def done(reply: Reply) -> None:
            self.under_way -= 1
            self.recorder.add(sent, sent, reply.received, reply.status)
            self._target.check(number, reply)
            self._next(connection)

        connection.send(request, done)

    async def _open_again(self) -> None:
        """A client whose connection was closed opens another; one that can't, stops."""
        try:
            connection = await connect(self._target.address)
        except OSError:
            self._stop()
            return
        self.connections.append(connection)
        self._next(connection)

    def _stop(self) -> None:
        self._playing -= 1
        if not self._playing:
            self._all_stopped.set()


async def open_loop(target: Target, rate: float, seconds: float, seed: int = 0) -> Load:
    """Requests arrive by the clock, whatever the server does, on as many connections as needed.

    Args:
        target: where to.
        rate: mean arrivals per second; gaps are exponential (Poisson).
        seconds: in which requests arrive.
        seed: of the gaps.

    Raises:
        OSError: if nobody listens.
        RuntimeError: if more requests are under way than the generator can hold.
    """
    gaps = np.random.default_rng(seed).exponential(1.0 / rate, size=int(rate * seconds * 2) + 100)
    arrivals = np.cumsum(gaps)
    arrivals = arrivals[arrivals < seconds]
    pool = await _Pool.of(target.address)
    opening = _OpenLoop(target, pool)
    begun = time.perf_counter() + 0.01
    for arrival in arrivals.tolist():
        scheduled = begun + arrival
        await _sleep_until(scheduled)
        opening.arrive(scheduled)
    await opening.finished()
    await pool.close()
    return opening.recorder.load(
        "open", seconds, unasked=pool.unasked, unanswered=len(arrivals) - opening.finished_count
    )


async def close_all(connections: Iterable[Connection]) -> None:
    """Closes connections, and lets the event loop close their sockets."""
    for connection in connections:
        connection.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _sleep_until(instant: float) -> None:
    """Sleeps; `select` wakes within about 0.1 ms of the instant on a quiet machine."""
    left = instant - time.perf_counter()
    await asyncio.sleep(max(left, 0.0))


class _Pool:
    """Idle connections; a new one is opened when none is idle."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[Connection] = deque()
        self._all: list[Connection] = []

    @classmethod
    async def of(cls, address: Address) -> _Pool:
        pool = cls(address)
        pool.give(await pool.new())
        return pool

    @property
    def unasked(self) -> int:
        return sum(connection.unasked for connection in self._all)

    def take(self) -> Connection | None:
        # The connection used last is taken first, so that few stay in use.
        while self._idle:
            connection = self._idle.pop()
            if connection.idle:
                return connection
        return None

    def give(self, connection: Connection) -> None:
        if connection.idle:
            self._idle.append(connection)

    async def new(self) -> Connection:
        self._all = [c for c in self._all if c.open or c.unasked]
        if len(self._all) >= MOST_CONNECTIONS:
            raise RuntimeError(
                f"more than {MOST_CONNECTIONS} requests are under way: the server keeps too many "
                "waiting for this generator; lower the rate or the server's queue"
            )
        connection = await connect(self._address)
        self._all.append(connection)
        return connection

    async def close(self) -> None:
        await close_all(self._all)


class _OpenLoop:
    """Callbacks of an open loop."""

    def __init__(self, target: Target, pool: _Pool) -> None:
        self.recorder = Recorder()
        self.finished_count = 0
        self._target = target
        self._requests = _numbered(target.requests)
        self._pool = pool
        self._arrived = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._idle = asyncio.Event()

    def arrive(self, scheduled: float) -> None:
        """Sends one request now; what is late now is the generator's own fault."""
        if self._failure is not None:
            raise self._failure
        self._arrived += 1
        number, request = next(self._requests)
        connection = self._pool.take()
        now = time.perf_counter()
        if connection is not None:
            self._send(connection, (number, scheduled, now), request)
            return
        task = asyncio.ensure_future(self._open_and_send((number, scheduled, now), request))
        self._opening.add(task)
        task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, OSError):
            self._failure = failure
            self._idle.set()

    async def _open_and_send(self, what: tuple[int, float, float], request: bytes) -> None:
        try:
            connection = await self._pool.new()
        except OSError:
            self._finish(what, Reply(BROKEN, b"", time.perf_counter()))
            return
        self._send(connection, what, request)

    def _send(self, connection: Connection, what: tuple[int, float, float], request: bytes) -> None:
        def done(reply: Reply) -> None:
            self._finish(what, reply)
            self._pool.give(connection)

        connection.send(request, done)

    def _finish(self, what: tuple[int, float, float], reply: Reply) -> None:
        number, scheduled, now = what
        self.finished_count += 1
        self.recorder.add(scheduled, now, reply.received, reply.status)
        self._target.check(number, reply)
        if self.finished_count == self._arrived:
            self._idle.set()

    async def finished(self) -> None:
        """Returns when every request is answered, or patience ends."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.finished_count < self._arrived and self._failure is None:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return  # what was not answered is counted by the caller
        if self._failure is not None:
            raise self._failure


def _numbered(requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbers requests from 0; a sequence starts again at its end, an iterator must not end."""
    if isinstance(requests, list | tuple):
        kept = requests
        number = 0
        while True:
            yield number, kept[number % len(kept)]
            number += 1
    yield from enumerate(requests)
