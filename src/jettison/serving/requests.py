"""What a caller asks and what comes back, whatever protocol carried it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from jettison.domain.rows import Array, Batch
from jettison.errors import RequestRefused

Priority = Literal["high", "normal"]


class InferenceRequest(NamedTuple):
    """Rows to be answered together; they stay together in one batch or follow each other.

    A tuple, as `Answer`: one is made for each call, and a frozen dataclass costs three times as
    much.

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


class Answer(NamedTuple):
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


class Caller(Protocol):
    """Who waits for an answer: told once, on the event loop. An `asyncio.Future` is one.

    Whoever is told must not compute there and must not raise: a whole batch is being handed out.
    """

    def done(self) -> bool:
        """Whether it was told, or doesn't wait any more."""
        ...

    def set_result(self, answer: Answer, /) -> None:
        """Here is the answer."""
        ...

    def set_exception(self, refusal: RequestRefused, /) -> None:
        """There is none; the refusal says why."""
        ...


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
