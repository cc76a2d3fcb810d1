"""The queue of a batcher: no row is lost, none goes twice, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.serving.requests import InferenceRequest
from jettison.serving.waiting import (
    HIGH_IN_A_ROW,
    LOOK_PAST,
    Taken,
    Ticket,
    Waiting,
    input_bytes,
)


@dataclass(frozen=True)
class Act:
    """One thing that happens to the queue."""

    kind: Literal["add", "take", "remove"]
    rows: int
    group: int
    high: bool
    which: int


ACTS = st.lists(
    st.builds(
        Act,
        kind=st.sampled_from(["add", "add", "add", "take", "remove"]),
        rows=st.integers(1, 12),
        group=st.integers(0, 2),
        high=st.booleans(),
        which=st.integers(0, 30),
    ),
    max_size=60,
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def ticket_of(
    loop: asyncio.AbstractEventLoop, number: int, act: Act, deadline: float = math.inf
) -> Ticket:
    rows = np.stack([np.full(act.rows, number), np.arange(act.rows)], axis=1)
    priority: Literal["high", "normal"] = "high" if act.high else "normal"
    request = InferenceRequest({"x": rows}, act.rows, deadline, priority)
    caller = loop.create_future()
    return Ticket(request, act.group, number, 0.0, caller, input_bytes(request.arrays))


def check_batch(taken: Taken, cap: int, waiting: list[Ticket]) -> None:
    """One group, at most the cap, and led by the oldest of its priority."""
    assert 1 <= taken.rows == sum(taken.sizes) <= cap
    assert len({ticket.group for ticket in taken.tickets}) == 1
    assert [len(part["x"]) for part in taken.parts] == taken.sizes
    lead = taken.tickets[0]
    assert lead.number == min(t.number for t in waiting if t.high == lead.high)


@given(acts=ACTS, cap=st.integers(1, 10))
def test_every_row_goes_once(loop: asyncio.AbstractEventLoop, acts: list[Act], cap: int) -> None:
    """Rows come out in order, exactly once, unless they were taken back while they waited."""
    late: list[Ticket] = []
    queue = Waiting(late.append)
    tickets: list[Ticket] = []
    expected: dict[int, int] = {}
    went: dict[int, list[int]] = {}

    def take() -> None:
        waiting = queue.tickets()
        taken = queue.take(cap, 0.0)
        check_batch(taken, cap, waiting)
        for ticket, part in zip(taken.tickets, taken.parts):
            went.setdefault(ticket.number, []).extend(part["x"][:, 1])
            assert set(part["x"][:, 0]) == {ticket.number}

    for act in acts:
        if act.kind == "add":
            tickets.append(ticket_of(loop, len(tickets), act))
            expected[tickets[-1].number] = act.rows
            queue.add(tickets[-1])
        elif act.kind == "remove" and tickets:
            ticket = tickets[act.which % len(tickets)]
            if ticket.left:
                expected[ticket.number] = ticket.rows - ticket.left
            queue.remove(ticket)
        elif queue.rows:
            take()
        assert queue.rows == sum(ticket.left for ticket in tickets)
        assert queue.high_rows == sum(ticket.left for ticket in tickets if ticket.high)
        waiting = [ticket for ticket in tickets if ticket.left]
        assert queue.bytes == sum(ticket.nbytes for ticket in waiting)
        assert queue.high_bytes == sum(ticket.nbytes for ticket in waiting if ticket.high)
    while queue.rows:
        take()
    assert queue.tickets() == late == []
    assert queue.bytes == queue.high_bytes == 0
    for number, rows in expected.items():
        assert went.get(number, []) == list(range(rows))


@given(acts=ACTS, cap=st.integers(1, 10))
def test_the_late_and_the_gone_are_left_out(
    loop: asyncio.AbstractEventLoop, acts: list[Act], cap: int
) -> None:
    """What is too late when its turn comes is handed back, what nobody waits for is dropped."""
    late: list[Ticket] = []
    queue = Waiting(late.append)
    tickets: list[Ticket] = []
    for act in acts:
        deadline = 1.0 if act.kind == "take" else math.inf
        tickets.append(ticket_of(loop, len(tickets), act, deadline))
        queue.add(tickets[-1])
        if act.kind == "remove":
            caller = tickets[-1].caller
            assert isinstance(caller, asyncio.Future)
            caller.cancel()
    went: set[int] = set()
    while queue.rows:
        went.update(ticket.number for ticket in queue.take(cap, 1.0).tickets)
    assert went == {n for n, act in enumerate(acts) if act.kind == "add"}
    assert {ticket.number for ticket in late} == {
        n for n, act in enumerate(acts) if act.kind == "take"
    }
    assert queue.tickets() == []
    assert queue.bytes == queue.high_bytes == 0


def test_normal_requests_get_their_share_under_a_flood(loop: asyncio.AbstractEventLoop) -> None:
    """While high requests never end, every fifth batch is led by the oldest normal one."""
    queue = Waiting(lambda _: None)
    for number in range(200):
        queue.add(ticket_of(loop, number, Act("add", 1, 0, number >= 20, 0)))
    leads = [queue.take(1, 0.0).tickets[0] for _ in range(100)]
    normal = [turn for turn, ticket in enumerate(leads) if not ticket.high]
    assert normal == list(range(HIGH_IN_A_ROW, 100, HIGH_IN_A_ROW + 1))
    assert [leads[turn].number for turn in normal] == list(range(20))


def test_few_requests_are_passed_over_for_one_that_fits(loop: asyncio.AbstractEventLoop) -> None:
    """However long the line, forming a batch looks past a bounded number of requests."""
    for passed, rows in ((LOOK_PAST - 1, [3, 1]), (LOOK_PAST, [3])):
        queue = Waiting(lambda _: None)
        for number, size in enumerate([3, *[2] * passed, 1]):
            queue.add(ticket_of(loop, number, Act("add", size, 0, False, 0)))
        assert queue.take(4, 0.0).sizes == rows
        assert queue.take(4, 0.0).sizes == [2, 2]


def test_texts_weigh_what_python_holds() -> None:
    """An array of texts is one of pointers; the texts lie elsewhere."""
    numbers = np.zeros((3, 4), np.float32)
    texts = np.array(["x" * 1000, "y"], dtype=object)
    assert input_bytes({"x": numbers}) == 48
    assert 1000 < input_bytes({"x": numbers, "t": texts}) - 48 < 1500
