"""The short hold: a batch that isn't full waits for one more request, if one is due."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections import deque
from collections.abc import Callable

RECENT = 16
"""Gaps between arrivals that are looked at."""

FEWEST = 4
"""Fewer gaps say nothing yet."""

PATIENCE = 4.0
"""After an arrival, the next is waited for as long as so many usual gaps."""


class Hold:
    """Waits for a batch mate only where recent arrivals promise one.

    A mate is due when more than half of the recent gaps between arrivals were shorter than what is
    left of the hold. The median of the gaps is used, and not their mean: callers that wait for
    their answers come in bursts, with the length of a batch in between.

    Args:
        seconds: the longest wait, from the moment when the batch could have begun.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._gaps: deque[float] = deque(maxlen=RECENT)
        self._last = -math.inf
        self._next: asyncio.Future[bool] | None = None

    def arrived(self, now: float) -> None:
        """Takes note of a request; `now` is `time.monotonic()`."""
        if self._last > -math.inf:
            self._gaps.append(now - self._last)
        self._last = now
        self._wake(arrival=True)

    async def wait(self, is_full: Callable[[], bool]) -> None:
        """Returns when the batch is full, when nothing more is due, or when the hold is over."""
        begun = time.monotonic()
        arrival = True
        while arrival and not is_full():
            patience = self.patience(time.monotonic(), begun)
            if patience <= 0:
                return
            loop = asyncio.get_running_loop()
            self._next = loop.create_future()
            timer = loop.call_later(patience, self._time_is_up)
            try:
                arrival = await self._next
            finally:
                timer.cancel()
                self._next = None

    def patience(self, now: float, begun: float) -> float:
        """How many seconds the next request is to be waited for; 0 where none is due."""
        left = begun + self._seconds - now
        if len(self._gaps) < FEWEST:
            return 0.0
        usual = statistics.median(self._gaps)
        if usual >= left:
            return 0.0
        return left if self._last < begun else min(left, self._last + PATIENCE * usual - now)

    def _time_is_up(self) -> None:
        self._wake(arrival=False)

    def _wake(self, arrival: bool) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(arrival)
