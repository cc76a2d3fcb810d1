"""What a load generator saw: instants of each request, and the percentiles that they support."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from jettison.statistics.intervals import Interval

Loop = Literal["open", "closed"]
Floats = npt.NDArray[np.float64]

LATENESS_SHARE = 0.10
"""An open loop is void when its own lateness (p99) is more than this share of latency (p50)."""

STALL_FACTOR = 10.0
"""A closed loop names a stall where every client waited for more than this many median times."""


class Recorder:
    """Collects requests while a generator runs."""

    def __init__(self) -> None:
        self._scheduled = array("d")
        self._sent = array("d")
        self._received = array("d")
        self._status = array("i")

    def add(self, scheduled: float, sent: float, received: float, status: int) -> None:
        """Notes one request that was answered or broken."""
        self._scheduled.append(scheduled)
        self._sent.append(sent)
        self._received.append(received)
        self._status.append(status)

    def load(self, loop: Loop, seconds: float, *, unasked: int, unanswered: int) -> Load:
        """Ends the collection."""
        return Load(
            loop,
            seconds,
            np.array(self._scheduled),
            np.array(self._sent),
            np.array(self._received),
            np.array(self._status, dtype=np.int64),
            unasked,
            unanswered,
        )


@dataclass(frozen=True, slots=True)
class Load:
    """One run of a generator.

    Attributes:
        loop: `open` (arrivals by the clock) or `closed` (a client sends when it has its answer).
        seconds: in which requests were sent.
        scheduled, sent, received: instants of `time.perf_counter()`, shape (n,).
        status: HTTP status of each, shape (n,); `connection.BROKEN` where none came.
        unasked: answers to nothing.
        unanswered: requests given up when the generator ended.
    """

    loop: Loop
    seconds: float
    scheduled: Floats
    sent: Floats
    received: Floats
    status: npt.NDArray[np.int64]
    unasked: int = 0
    unanswered: int = 0

    @property
    def accepted(self) -> npt.NDArray[np.bool_]:
        """Which requests were answered with 200, shape (n,)."""
        return np.equal(self.status, 200)

    @property
    def latency(self) -> Floats:
        """Seconds from the scheduled instant to the whole answer, of accepted requests."""
        return (self.received - self.scheduled)[self.accepted]

    @property
    def lateness(self) -> Floats:
        """Seconds by which the generator itself was late, of all requests."""
        return self.sent - self.scheduled

    @property
    def per_second(self) -> float:
        """Accepted answers per second."""
        return float(self.accepted.sum()) / self.seconds if self.seconds > 0 else math.nan

    def counts(self) -> dict[int, int]:
        """Requests by status."""
        found, counts = np.unique(self.status, return_counts=True)
        return {int(s): int(c) for s, c in zip(found, counts, strict=True)}

    def flags(self) -> tuple[str, ...]:
        """What a reader must know before using a number of this run."""
        if self.loop == "closed":
            return tuple(flag for flag in (CLOSED, self._stall()) if flag)
        void = self.void()
        return (void,) if void else ()

    def void(self) -> str:
        """Why latencies of an open loop say nothing, or an empty string."""
        if self.loop != "open" or not self.latency.size:
            return "" if self.latency.size else "void: no request was accepted"
        late, middle = np.quantile(self.lateness, 0.99), np.quantile(self.latency, 0.5)
        if late <= LATENESS_SHARE * middle:
            return ""
        return (
            f"void: the generator was late by {late * 1e3:.2f} ms (p99), more than "
            f"{LATENESS_SHARE:.0%} of the median latency of {middle * 1e3:.2f} ms"
        )

    def _stall(self) -> str:
        """Names the worst wait of a closed loop that its percentiles hardly show."""
        if not self.latency.size:
            return "no request was accepted"
        middle, worst = float(np.median(self.latency)), float(self.latency.max())
        if worst <= STALL_FACTOR * middle:
            return ""
        waited = int((self.latency > worst / 2).sum())
        return (
            f"a stall of {worst:.2f} s delayed only {waited} of {self.latency.size} requests, "
            "because clients that wait don't send: percentiles hide it"
        )


CLOSED = "closed loop: for capacity; a client that waits offers nothing, so delays are understated"


def samples_needed(share: float) -> int:
    """How many samples the percentile of a share needs: at least ten lie beyond it.

    >>> samples_needed(0.99), samples_needed(0.5)
    (1000, 20)
    """
    return math.ceil(round(10.0 / (1.0 - share), 6))


def percentile(latencies: Floats, share: float) -> Interval | None:
    """A percentile with its 95 % interval from order statistics (binomial, distribution-free).

    Args:
        latencies: shape (n,), any unit.
        share: 0.99 for p99.

    Returns:
        `None` where there are too few samples for this percentile.

    >>> found = percentile(np.arange(1000.0), 0.99)
    >>> found.low < found.value < found.high
    True
    """
    n = latencies.size
    if n < samples_needed(share):
        return None
    ordered = np.sort(latencies)
    low, high = (stats.binom.ppf(tail, n, share) for tail in (0.025, 0.975))
    return Interval(
        float(np.quantile(ordered, share)),
        float(ordered[max(int(low) - 1, 0)]),
        float(ordered[min(int(high), n - 1)]),
        n,
    )
