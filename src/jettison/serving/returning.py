"""`Returning`: after a batch, waits a moment for the callers who ask again as soon as they can."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

WINDOW_SHARE = 0.1
"""A wait takes at most this share of the seconds that the batch before it took."""

SHORTEST_SECONDS = 0.001
"""Timers of the event loop are good to a millisecond: where the share is less, nothing is waited
for, and models that answer a batch within ten milliseconds never are."""

LONGEST_SECONDS = 0.02

NEWEST = 0.25
"""Weight of the newest batch in the running share of callers who come back at once."""

LEAST_SHARE = 0.5
"""Where fewer than this come back, nobody is waited for."""


class Returning:
    """Holds a batch only for callers who were just answered and have been coming back at once.

    Callers who wait for their answers before they ask again (a pool of workers, a page of results)
    fall out of step with a batcher that never waits: the first of eight to come back is computed
    alone, the other seven next, and so on, although eight together cost less than one and seven.
    Their requests come within a moment of the answers, though, and that can be seen without
    waiting: of each batch, the share of callers is noted that was followed by a request within the
    window. Arrivals that have nothing to do with the answers fill a tenth of it, or so, and are not
    waited for; nor is a caller who is alone, because its own request is the one that is due.

    All times are of `time.monotonic()`.
    """

    def __init__(self) -> None:
        self._share = 0.0
        self._answered = 0
        self._arrived = 0
        self._until = -math.inf
        self._next: asyncio.Future[None] | None = None

    @property
    def share(self) -> float:
        """Running share of answered callers who came back within the window."""
        return self._share

    def answered(self, callers: int, seconds: float, now: float) -> None:
        """A batch was answered.

        Args:
            callers: whose requests it answered.
            seconds: that it took.
            now: the window begins.
        """
        if self._answered:
            share = min(1.0, self._arrived / self._answered)
            self._share += NEWEST * (share - self._share)
        window = min(WINDOW_SHARE * seconds, LONGEST_SECONDS)
        self._answered = callers if window >= SHORTEST_SECONDS else 0
        self._arrived = 0
        self._until = now + window

    def arrived(self, now: float) -> None:
        """A request has come."""
        if self._answered and now <= self._until:
            self._arrived += 1
            self._wake()

    def due(self, now: float) -> int:
        """How many callers are about to come back; 0 once the window is over."""
        if not self._answered or now >= self._until or self._share < LEAST_SHARE:
            return 0
        return max(0, round(self._share * self._answered) - self._arrived)

    async def wait(self, is_full: Callable[[], bool], clock: Callable[[], float]) -> None:
        """Returns when the batch is full, when all who are due have come, or with the window."""
        loop = asyncio.get_running_loop()
        while not is_full() and self.due(now := clock()):
            self._next = loop.create_future()
            timer = loop.call_later(self._until - now, self._wake)
            try:
                await self._next
            finally:
                timer.cancel()
                self._next = None

    def release(self) -> None:
        """Ends a wait that is going on, and waits for nobody until the next batch."""
        self._until = -math.inf
        self._wake()

    def _wake(self) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
