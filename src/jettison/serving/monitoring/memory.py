"""Answers that wait for their outcome: a bounded memory, oldest out first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from jettison.domain.rows import Array

_OVERHEAD_BYTES = 400
"""About what Python needs for one entry beside its arrays."""


@dataclass(slots=True, eq=False)
class Remembered:
    """One answered request.

    Attributes:
        answer: output that metrics read, shape (rows, ...); no rows for an id that came twice.
        original: the original's, the same shape; `None` where it was not asked.
        at: instant of the clock.
        told: rows whose outcome came already.
    """

    answer: Array
    original: Array | None
    at: float
    told: set[int] = field(default_factory=set)

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        more = self.original.nbytes if self.original is not None else 0
        return self.answer.nbytes + more + _OVERHEAD_BYTES


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

    def remember(self, name: str, answer: Array, original: Array | None) -> bool:
        """Keeps copies: an answer may be a view of a whole batch. Says whether it was kept."""
        self._expire()
        earlier = self._known.pop(name, None)
        if earlier is not None:
            self.size_bytes -= earlier.size_bytes
            entry = Remembered(np.empty(0), None, self._clock())
        else:
            kept = None if original is None else np.array(original)
            entry = Remembered(np.array(answer), kept, self._clock())
        if entry.size_bytes > self._most_bytes:
            return False
        self._known[name] = entry
        self.size_bytes += entry.size_bytes
        while len(self._known) > self._most or self.size_bytes > self._most_bytes:
            self._drop_oldest()
        return earlier is None

    def find(self, name: str) -> Remembered | None:
        """The answer of a request; `None` where it is unknown, was pushed out or is too old."""
        self._expire()
        return self._known.get(name)

    def _expire(self) -> None:
        limit = self._clock() - self._seconds
        while self._known and next(iter(self._known.values())).at < limit:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, entry = self._known.popitem(last=False)
        self.size_bytes -= entry.size_bytes
