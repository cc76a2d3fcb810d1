"""A histogram that costs one search and two additions; read only when a scrape asks.

The histogram of prometheus_client locks and searches in a loop for each value. All values of a
server are written by its one event loop, so plain numbers do (docs/decisions/0063).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

SECONDS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
"""Upper bounds of durations."""

ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
"""Upper bounds of rows of a batch: exact where batches are small."""


class Tally:
    """Counts values into buckets.

    >>> tally = Tally((1, 2))
    >>> for value in (1, 2, 2, 9):
    ...     tally.observe(value)
    >>> list(tally.cumulative()), tally.total, tally.n
    ([('1.0', 1), ('2.0', 3), ('+Inf', 4)], 14.0, 4)
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(float(bound) for bound in bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value into the first bucket whose upper bound is not below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def n(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Each upper bound, as the exposition format writes it, with the count up to it."""
        running = 0
        for bound, count in zip(self._bounds, self._counts, strict=False):
            running += count
            yield repr(bound), running
        yield "+Inf", running + self._counts[-1]
