"""The batcher: whatever waits goes to the engine as soon as it is free."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from jettison.domain.model import Model
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed, RequestRefused
from jettison.serving.deadlines import Deadlines
from jettison.serving.grouping import Grouping
from jettison.serving.hold import Hold
from jettison.serving.requests import Answer, BatchObserver, Caller, InferenceRequest
from jettison.serving.returning import Returning
from jettison.serving.settings import QUEUE_BYTES
from jettison.serving.waiting import Taken, Ticket, Waiting, input_bytes

Run = Callable[[Batch], Awaitable[Mapping[str, Array]]]

UNMEASURED_SECONDS = 1.0
"""What a refused caller is told to wait before any batch was computed."""

NEWEST = 0.1
"""Weight of the newest batch in the running mean of seconds per row."""

HEADROOM = 0.8
"""Share of the time to its deadline that a request's wait may be predicted to take. The bound on
the queue was set on an idle machine; under load the same cores also read and write requests."""


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How requests are batched.

    Attributes:
        max_batch_rows: the most rows of one batch; 1 for a `fixed-batch` or batch-dependent model.
        max_queue_rows: the most rows that may wait before a request is refused. Requests of high
            priority only count against each other, because only they go first.
        hold_seconds: the longest that a batch which isn't full is held for a mate that recent
            arrivals promise; 0 never holds.
        max_queue_bytes: the most memory that the inputs of waiting requests may take, counted by
            priority as rows are: rows of free sizes may be of any. A request that nothing waits
            before is taken whatever its size: its memory is in use already.
    """

    max_batch_rows: int
    max_queue_rows: int
    hold_seconds: float = 0.0
    max_queue_bytes: int = QUEUE_BYTES

    def __post_init__(self) -> None:
        bounds = (self.max_batch_rows, self.max_queue_rows, self.max_queue_bytes)
        if min(bounds) < 1:
            raise ValueError(
                "max_batch_rows, max_queue_rows and max_queue_bytes must be at least 1; got "
                f"{bounds[0]}, {bounds[1]} and {bounds[2]}"
            )
        if not (self.hold_seconds >= 0 and math.isfinite(self.hold_seconds)):
            raise ValueError(f"hold_seconds must be 0 or more; got {self.hold_seconds}")


class Batcher:
    """Answers requests in batches, with no delay but for callers who are seen to come back.

    At most one batch is computed at a time. It takes what waits when the engine is free, so batches
    grow with the load by themselves. Where callers have been asking again at once, it waits for
    them for a tenth of a batch's time at most (`Returning`); a longer hold can be asked for. All
    methods belong to one event loop.

    Args:
        run: computes one batch; may raise anything, which then fails only the guilty request.
        model: what `run` runs; its inputs must have been checked (`jettison.serving.signature`).
        policy: cap, bound and hold.
        observer: told of every batch and refusal.
        pad: inputs whose second axis is ragged, with the value that fills it.
        version: written into every answer.
    """

    def __init__(
        self,
        run: Run,
        model: Model,
        policy: BatchPolicy,
        observer: BatchObserver,
        pad: Mapping[str, float] | None = None,
        version: str = "",
    ) -> None:
        self._run = run
        self._policy = policy
        self._observer = observer
        self._version = version
        self._folder = model.artifact.folder
        self._grouping = Grouping(model, pad or {})
        self._waiting = Waiting(self._late)
        self._deadlines = Deadlines(self._late)
        self._hold = Hold(policy.hold_seconds) if policy.hold_seconds else None
        self._returning = Returning() if policy.max_batch_rows > 1 else None
        self._numbers = itertools.count()
        self._computing: list[Ticket] = []
        self._worker: asyncio.Task[None] | None = None
        self._draining = False
        self._seconds_per_row = 0.0
        self._turn_began = 0.0

    @property
    def waiting_rows(self) -> int:
        """Rows that wait for the engine now; those being computed are not among them."""
        return self._waiting.rows

    @property
    def waiting_bytes(self) -> int:
        """Memory of the inputs that wait for the engine now."""
        return self._waiting.bytes

    async def submit(self, request: InferenceRequest) -> Answer:
        """Answers one request. If it is cancelled, its rows are dropped.

        Raises:
            RequestRefused: `full` (with the time after which asking again may help), `too large`,
                `drain`, `deadline`, or `failed` when the model can't answer this very request.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        ticket = self.accept(request, future)
        try:
            return await future
        except asyncio.CancelledError:
            self.forget(ticket)
            raise

    async def drain(self) -> None:
        """Refuses new requests from now on, and returns when all accepted ones are answered."""
        self._draining = True
        if self._hold is not None:
            self._hold.release()
        if self._returning is not None:
            self._returning.release()
        while self._worker is not None:
            await asyncio.wait({self._worker})

    def retry_after_seconds(self) -> float:
        """How long the rows that wait now will take, from the measured compute time."""
        if not self._seconds_per_row:
            return UNMEASURED_SECONDS
        return self._seconds_per_row * max(1, self._waiting.rows)

    def accept(self, request: InferenceRequest, caller: Caller) -> Ticket:
        """Lets a request wait; its caller is told the answer, or why there is none.

        Returns:
            What `forget` takes, if the caller hangs up.

        Raises:
            RequestRefused: `full`, `too large`, `drain` or `deadline`, at once; the caller is then
                told nothing.
        """
        now = time.monotonic()
        nbytes = input_bytes(request.arrays)
        refusal = self._refusal(request, nbytes, now)
        if refusal is not None:
            self._observer.rejected(refusal.reason)
            raise refusal
        group = self._grouping.group(request.arrays)
        ticket = Ticket(request, group, next(self._numbers), now, caller, nbytes)
        self._waiting.add(ticket)
        self._deadlines.watch(ticket)
        self._observer.waiting(self._waiting.rows)
        if self._returning is not None:
            self._returning.arrived(now)
        if self._hold is not None:
            self._hold.arrived(now)
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
        return ticket

    def forget(self, ticket: Ticket) -> Caller | None:
        """Drops what still waits of a request; gives its caller if it has not been told."""
        if ticket.left:
            self._waiting.remove(ticket)
            self._observer.waiting(self._waiting.rows)
        return ticket.end()

    def _refusal(self, request: InferenceRequest, nbytes: int, now: float) -> RequestRefused | None:
        most = self._policy.max_queue_rows
        if self._draining:
            return RequestRefused("drain", "this server is stopping; ask another one")
        if request.deadline <= now:
            return _too_late()
        if request.rows < 1:
            return RequestRefused("shape", "a request needs at least 1 row; got none")
        if request.rows > most:
            return RequestRefused(
                "too large", f"a request may have at most {most} rows; got {request.rows}; cut it"
            )
        full = self._full(request, nbytes, now)
        if full:
            return RequestRefused("full", f"{full}; ask again later", self.retry_after_seconds())
        return None

    def _full(self, request: InferenceRequest, nbytes: int, now: float) -> str:
        """Says what leaves no room for a request; empty where there is room."""
        policy, waiting, high = self._policy, self._waiting, request.priority == "high"
        ahead = waiting.high_rows if high else waiting.rows
        held = waiting.high_bytes if high else waiting.bytes
        if ahead + request.rows > policy.max_queue_rows:
            return f"{ahead} rows wait already and at most {policy.max_queue_rows} may"
        if not ahead:
            return ""
        if held + nbytes > policy.max_queue_bytes:
            return (
                f"{ahead} rows of {held:,} bytes wait already and at most "
                f"{policy.max_queue_bytes:,} bytes may; this request has {nbytes:,}"
            )
        wait = self._seconds_per_row * ahead
        if wait > HEADROOM * (request.deadline - now):
            return f"{ahead} rows wait already, which takes about {wait:.2g} s at the pace of now"
        return ""

    async def _work(self) -> None:
        """Computes until nothing waits."""
        self._turn_began = time.monotonic()
        try:
            while self._waiting.rows:
                if not self._draining:
                    await self._wait()
                taken = self._waiting.take(self._policy.max_batch_rows, time.monotonic())
                self._observer.waiting(self._waiting.rows)
                if taken.tickets:
                    self._computing = taken.tickets
                    await self._answer(taken)
                    self._computing = []
        finally:
            self._worker = None
            self._abandon()

    async def _wait(self) -> None:
        """Holds the next batch where mates are due."""
        if self._returning is not None and self._returning.due(time.monotonic()):
            await self._returning.wait(self._is_full, time.monotonic)
        if self._hold is not None:
            await self._hold.wait(self._is_full)

    def _is_full(self) -> bool:
        return self._waiting.rows >= self._policy.max_batch_rows or not self._waiting.rows

    async def _answer(self, taken: Taken) -> None:
        """Computes a batch; where it fails, each request alone, so that only the guilty one fails."""
        error = await self._compute(taken)
        if error is None:
            return
        if len(taken.tickets) == 1:
            self._fail(taken.tickets[0], error)
            return
        for one in taken.alone():
            ticket = one.tickets[0]
            if ticket.deadline <= time.monotonic():
                self._late(ticket)
            if ticket.is_over:
                continue
            error = await self._compute(one)
            if error is not None:
                self._fail(ticket, error)

    async def _compute(self, taken: Taken) -> Exception | None:
        """Runs one batch and hands out its answers; gives the error where there is one."""
        begun = time.monotonic()
        try:
            outputs = await self._run(self._grouping.join(taken.parts))
            answers = self._grouping.split(outputs, taken.parts, taken.sizes)
        except Exception as error:  # noqa: BLE001 - a model may raise anything; its caller gets it
            return error
        ended = time.monotonic()
        seconds = ended - begun
        # The pace counts what lies between two batches too: a caller waits for all of it.
        self._note_pace((ended - self._turn_began) / taken.rows)
        self._turn_began = ended
        waits = [begun - ticket.accepted for ticket in taken.tickets]
        self._observer.batch(taken.rows, waits, seconds)
        if self._returning is not None:
            self._returning.answered(len(taken.tickets), seconds, ended)
        for ticket, arrays, size, wait in zip(taken.tickets, answers, taken.sizes, waits):
            if ticket.is_over:
                continue
            own = Answer(arrays, self._version, wait, seconds, taken.rows)
            try:
                answer = own if size == ticket.rows else ticket.collect(own, size)
            except CandidateFailed as error:
                self._fail(ticket, error)
                continue
            if answer is not None and (caller := ticket.end()) is not None:
                caller.set_result(answer)
        return None

    def _note_pace(self, seconds_per_row: float) -> None:
        """Keeps a running mean of the seconds that a row takes while rows wait."""
        before = self._seconds_per_row or seconds_per_row
        self._seconds_per_row = before + NEWEST * (seconds_per_row - before)

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        # Where the model lies on this machine is nobody's business.
        told = str(error).replace(f"{self._folder}/", "")
        refusal = RequestRefused("failed", f"the model could not answer this request: {told}")
        refusal.__cause__ = error
        self._refuse(ticket, refusal)

    def _late(self, ticket: Ticket) -> None:
        self._refuse(ticket, _too_late())

    def _refuse(self, ticket: Ticket, refusal: RequestRefused) -> None:
        """Answers an accepted request with an error, and drops what still waits of it."""
        caller = self.forget(ticket)
        if caller is not None:
            self._observer.rejected(refusal.reason)
            caller.set_exception(refusal)

    def _abandon(self) -> None:
        """Leaves nobody waiting if the loop was stopped, or the work broke, in the middle."""
        for ticket in (*self._computing, *self._waiting.tickets()):
            self._refuse(
                ticket,
                RequestRefused("not ready", "the server stopped before this request was answered"),
            )
        self._computing = []


def _too_late() -> RequestRefused:
    return RequestRefused("deadline", "the deadline passed before the request was answered")
