"""Answers that wait for their outcome: a bounded memory, oldest out first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from jettison.domain.rows import Array
from jettison.serving.monitoring.watched import MonitorSettings

_NONE: frozenset[int] = frozenset()
_OVERHEAD_BYTES = 400
"""About what Python needs for one entry beside its arrays."""


class Remembered:
    """One answered request.

    Attributes:
        version: that answered.
        answer: output that metrics read, shape (rows, ...); no rows for an id that came twice.
        original: the original's, the same shape; `None` where it was not asked.
        at: instant of the clock.
        told: rows whose outcome came already.
        size_bytes: what it takes.
    """

    __slots__ = ("answer", "at", "original", "size_bytes", "told", "version")

    def __init__(self, version: str, answer: Array, original: Array | None, at: float) -> None:
        self.version = version
        self.answer = answer
        self.original = original
        self.at = at
        # One is made for each request, and most of them are never told an outcome.
        self.told: frozenset[int] = _NONE
        more = 0 if original is None else original.nbytes
        self.size_bytes: int = answer.nbytes + more + _OVERHEAD_BYTES


class Journal:
    """The answers of all versions of one model, by request id.

    It outlives its versions: a label that comes after a swap still finds the answer that it is
    about, and the version that gave it. Answers that the original gave too have a part of their
    own, so that the many others don't push them out.

    Args:
        settings: bounds, of each part.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: MonitorSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        chosen = settings or MonitorSettings()
        bounds = (chosen.remembered, chosen.remembered_bytes, chosen.remembered_seconds)
        self._paired = AnswerMemory(*bounds, clock)
        self._alone = AnswerMemory(*bounds, clock)

    def __len__(self) -> int:
        return len(self._paired) + len(self._alone)

    def remember(
        self, request_id: str, version: str, answer: Array, original: Array | None
    ) -> None:
        """Keeps the answer to one request; `original` is the original's to the same rows."""
        part = self._alone if original is None else self._paired
        part.remember(request_id, version, answer, original)

    def find(self, request_id: str) -> Remembered | None:
        """The answer of a request; without rows where two requests had this id."""
        paired, alone = self._paired.find(request_id), self._alone.find(request_id)
        if paired is not None and alone is not None:
            return _twice(alone.version, alone.at)
        return paired or alone


class AnswerMemory:
    """Answers by request id.

    Of an id that is used for two requests no answer is kept, because nobody could tell which of
    them an outcome is about.

    Args:
        most: requests that are kept.
        most_bytes: that they may take together.
        seconds: after which an outcome comes too late.
    """

    def __init__(
        self,
        most: int,
        most_bytes: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._known: OrderedDict[str, Remembered] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def remember(self, name: str, version: str, answer: Array, original: Array | None) -> None:
        """Keeps copies: an answer may be a view of a whole batch."""
        now = self._clock()
        self._expire(now)
        earlier = self._known.pop(name, None)
        if earlier is not None:
            self.size_bytes -= earlier.size_bytes
            entry = _twice(version, now)
        else:
            kept = None if original is None else np.array(original)
            entry = Remembered(version, np.array(answer), kept, now)
        if entry.size_bytes > self._most_bytes:
            return
        self._known[name] = entry
        self.size_bytes += entry.size_bytes
        while len(self._known) > self._most or self.size_bytes > self._most_bytes:
            self._drop_oldest()

    def find(self, name: str) -> Remembered | None:
        """The answer of a request; `None` where it is unknown, was pushed out or is too old."""
        self._expire(self._clock())
        return self._known.get(name)

    def _expire(self, now: float) -> None:
        limit = now - self._seconds
        while self._known and next(iter(self._known.values())).at < limit:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, entry = self._known.popitem(last=False)
        self.size_bytes -= entry.size_bytes


def _twice(version: str, at: float) -> Remembered:
    """What is kept of an id that two requests had."""
    return Remembered(version, np.empty(0), None, at)
