"""One timer for all deadlines."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from jettison.serving.deadlines import FEWEST, Deadlines
from jettison.serving.requests import InferenceRequest
from jettison.serving.waiting import Ticket


def ticket_of(number: int, deadline: float) -> Ticket:
    request = InferenceRequest({"x": np.zeros((1, 1))}, 1, deadline)
    return Ticket(request, 0, number, 0.0, asyncio.get_running_loop().create_future())


def test_answered_requests_are_swept_out() -> None:
    """However many are answered long before their deadline, the list stays short."""

    async def test() -> None:
        late: list[Ticket] = []
        deadlines = Deadlines(late.append)
        far = time.monotonic() + 3600
        alive = [ticket_of(number, far) for number in range(10)]
        for ticket in alive:
            deadlines.watch(ticket)
        for number in range(10, 20 * FEWEST):
            ticket = ticket_of(number, far)
            deadlines.watch(ticket)
            ticket.end()
            assert len(deadlines._heap) <= FEWEST + 1
        assert not {id(t) for t in alive} - {id(entry[2]) for entry in deadlines._heap}
        assert late == []

    asyncio.run(test())


def test_only_one_timer_is_set() -> None:
    """It is set for the earliest deadline, and moves when an earlier one comes."""

    async def test() -> None:
        deadlines = Deadlines(lambda _: None)
        loop = asyncio.get_running_loop()
        for number, wait in enumerate((3600, 5000, 1800, 2400)):
            deadlines.watch(ticket_of(number, time.monotonic() + wait))
            timers = [t for t in loop._scheduled if not t.cancelled()]  # type: ignore[attr-defined]
            assert len(timers) == 1
        assert timers[0].when() - loop.time() < 1801

    asyncio.run(test())


def test_each_unanswered_request_is_told_once_and_not_before_its_time() -> None:
    """Answered ones are passed over, and the timer is set again for those that still wait."""

    async def test() -> None:
        told: list[tuple[int, float]] = []
        done = asyncio.Event()

        def late(ticket: Ticket) -> None:
            told.append((ticket.number, time.monotonic() - ticket.deadline))
            ticket.end()
            if ticket.number == 3:
                done.set()

        deadlines = Deadlines(late)
        now = time.monotonic()
        tickets = [ticket_of(number, now + 0.01 * number) for number in (1, 2, 3)]
        for ticket in reversed(tickets):
            deadlines.watch(ticket)
        tickets[1].end()
        await done.wait()
        assert [number for number, _ in told] == [1, 3]
        assert all(after >= 0 for _, after in told)

    asyncio.run(test())
