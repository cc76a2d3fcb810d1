"""One timer for the deadlines of all requests: it sleeps until the earliest of them."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable

from jettison.serving.waiting import Ticket

FEWEST = 256
"""Answered requests are swept out when the list has grown to twice what was alive, at least this."""

ROUNDING_SECONDS = 0.0005
"""uvloop rounds to milliseconds: without this a timer could fire before its time, again and again."""


class Deadlines:
    """Tells when a deadline passes, at once and without polling.

    A timer for each request would be set and cancelled for nothing almost every time. Here a
    request costs one push; the only timer is set for the earliest deadline, and when it fires for a
    request that was answered long ago, it is set for the earliest of those that still wait.

    Args:
        late: called with each unanswered ticket whose deadline has passed.
    """

    def __init__(self, late: Callable[[Ticket], None]) -> None:
        self._late = late
        self._heap: list[tuple[float, int, Ticket]] = []
        self._sweep_at = FEWEST
        self._set_for = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, ticket: Ticket) -> None:
        """Begins to watch a ticket; one without a deadline is never late."""
        deadline = ticket.deadline
        if deadline == math.inf:
            return
        heapq.heappush(self._heap, (deadline, ticket.number, ticket))
        if len(self._heap) > self._sweep_at:
            self._heap = [entry for entry in self._heap if not entry[2].is_over]
            heapq.heapify(self._heap)
            self._sweep_at = max(FEWEST, 2 * len(self._heap))
        if deadline < self._set_for:
            self._set(deadline)

    def _set(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._set_for = deadline
        delay = max(0.0, deadline - time.monotonic()) + ROUNDING_SECONDS
        self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer, self._set_for = None, math.inf
        now = time.monotonic()
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].is_over):
            ticket = heapq.heappop(heap)[2]
            if not ticket.is_over:
                self._late(ticket)
        if heap:
            self._set(heap[0][0])
