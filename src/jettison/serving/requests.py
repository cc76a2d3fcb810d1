"""What a caller asks and what comes back, whatever protocol carried it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from jettison.domain.rows import Array, Batch

Priority = Literal["high", "normal"]


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """Rows to be answered together; they stay together in one batch or follow each other.

    Attributes:
        arrays: model input -> array of shape (rows, ...), in the dtype that the model takes.
        rows: how many rows each array holds; batches count rows, not requests.
        deadline: instant of `time.monotonic()` after which no answer is wanted.
        priority: `high` goes before everything `normal` that waits.
        request_id: given back to the caller, and the key of a later outcome; never a metric label.
    """

    arrays: Batch
    rows: int
    deadline: float = math.inf
    priority: Priority = "normal"
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of one request's own rows.

    Attributes:
        arrays: model output -> array of shape (rows, ...).
        version: of the model that answered.
        queue_seconds: from acceptance to the start of its (last) batch.
        compute_seconds: of the batches that held its rows.
        batch_rows: rows of the (largest) batch that it was answered in.
    """

    arrays: Mapping[str, Array]
    version: str
    queue_seconds: float
    compute_seconds: float
    batch_rows: int


class BatchObserver(Protocol):
    """What a batcher tells about its work. Called on the event loop: must be quick."""

    def waiting(self, rows: int) -> None:
        """The rows that wait now."""
        ...

    def batch(self, rows: int, queue_seconds: Sequence[float], compute_seconds: float) -> None:
        """One batch was computed; `queue_seconds` has one entry per request in it."""
        ...

    def rejected(self, reason: str) -> None:
        """One request was refused; the reason is one of `jettison.errors.REFUSALS`."""
        ...
