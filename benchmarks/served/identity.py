"""Requests whose answers say whose they are, and the check that each was answered once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.load import tensors
from benchmarks.load.connection import Reply
from benchmarks.served.models import FEATURES

Array = npt.NDArray[Any]
LARGEST = 2**24
"""Whole numbers below it are exact in float32."""
KEPT_EVERY = 97
RELATIVE = 1e-3


def numbered_requests(path: str, more: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """Requests without end; the first feature of number n is n, and the model echoes it."""
    row = base_row()
    template = tensors.binary_request(path, {"x": row}, more)
    head = template[: -row.nbytes]
    number = 0
    while True:
        row[0, 0] = number % LARGEST
        yield head + row.tobytes()
        number += 1


def base_row() -> Array:
    """The other features, the same for all, shape (1, FEATURES)."""
    return np.random.default_rng(3).normal(size=(1, FEATURES)).astype(np.float32)


@dataclass(slots=True)
class Identity:
    """Counts what came back for each request.

    Attributes:
        statuses: HTTP status -> answers.
        wrong: answers with 200 that belong to another request, or can't be read.
        without_retry: answers with 429 that don't say when to come again.
        kept: number -> scores, of some accepted requests, to be compared later.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    without_retry: int = 0
    kept: dict[int, Array] = field(default_factory=dict)
    _times: Counter[int] = field(default_factory=Counter)

    def look(self, number: int, reply: Reply) -> None:
        """Is told about each answer."""
        self.statuses[reply.status] += 1
        self._times[number] += 1
        if reply.status == 429:
            self.without_retry += not reply.headers.get("retry-after", "").isdigit()
        if reply.status != 200:
            return
        try:
            found = tensors.arrays_of(reply)
            own = bool(found["echo"].ravel()[0] == number % LARGEST)
        except (ValueError, KeyError, IndexError):
            own = False
        if not own:
            self.wrong += 1
        elif number % KEPT_EVERY == 0:
            self.kept[number] = found["scores"].ravel().copy()

    @property
    def several_times(self) -> int:
        """Requests that were answered more than once."""
        return sum(times > 1 for times in self._times.values())

    def differing(self, session: Any) -> int:
        """How many kept answers differ from those that the model gives for the row alone."""
        row, count = base_row(), 0
        for number, scores in self.kept.items():
            row[0, 0] = number % LARGEST
            alone = session.run(["scores"], {"x": row})[0].ravel()
            worst = float(np.abs(alone - scores).max())
            count += not worst <= RELATIVE * max(1.0, float(np.abs(alone).max()))
        return count
