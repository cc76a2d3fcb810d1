"""The accepted requests that wait: by priority, then by group, the oldest first."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterator

import numpy as np

from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed
from jettison.serving.requests import Answer, Caller, InferenceRequest

HIGH_IN_A_ROW = 4
"""After so many batches led by requests of high priority, one is led by the oldest normal one, if
any waits: under a flood of high requests, normal ones still get a fifth of the batches."""

LOOK_PAST = 16
"""Requests that don't fit the room left in a batch are passed over, but no more than this."""


def input_bytes(arrays: Batch) -> int:
    """Memory that the inputs of a request take; texts with what Python holds for each."""
    total = 0
    for array in arrays.values():
        total += array.nbytes
        if array.dtype.kind == "O":
            total += sum(map(sys.getsizeof, array.flat))
    return total


class Ticket:
    """One accepted request, until it is answered."""

    __slots__ = (
        "accepted",
        "answered",
        "arrays",
        "caller",
        "deadline",
        "group",
        "high",
        "left",
        "nbytes",
        "number",
        "pieces",
        "rows",
    )

    def __init__(
        self,
        request: InferenceRequest,
        group: Hashable,
        number: int,
        accepted: float,
        caller: Caller,
        nbytes: int = 0,
    ) -> None:
        self.arrays = request.arrays
        self.nbytes = nbytes
        self.rows = request.rows
        self.left = request.rows
        self.deadline = request.deadline
        self.high = request.priority == "high"
        self.group = group
        self.number = number
        self.accepted = accepted
        self.caller: Caller | None = caller
        self.pieces: list[Answer] = []
        self.answered = 0

    def next_part(self, size: int) -> Batch:
        """Gives the next rows that wait, as views; all of them where they are all asked."""
        start = self.rows - self.left
        self.left -= size
        if size == self.rows:
            return self.arrays
        return {name: array[start : start + size] for name, array in self.arrays.items()}

    def collect(self, piece: Answer, size: int) -> Answer | None:
        """Keeps the answer to some of its rows; gives the whole answer with the last of them.

        Raises:
            CandidateFailed: if the rows of an output differ in shape, so that they can't be joined.
        """
        self.pieces.append(piece)
        self.answered += size
        if self.answered < self.rows:
            return None
        arrays: dict[str, Array] = {}
        for name in piece.arrays:
            parts = [one.arrays[name] for one in self.pieces]
            if len({part.shape[1:] for part in parts}) > 1:
                raise CandidateFailed(
                    f"the output `{name}` has another shape for some of its rows than for others: "
                    "ask for them in requests of their own"
                )
            arrays[name] = np.concatenate(parts)
        return Answer(
            arrays,
            piece.version,
            piece.queue_seconds,
            sum(one.compute_seconds for one in self.pieces),
            max(one.batch_rows for one in self.pieces),
        )

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.caller is None or self.caller.done()

    def end(self) -> Caller | None:
        """Gives the caller if it still is to be answered, and lets go of all arrays.

        The list of deadlines may keep the ticket for long; it must not keep inputs and answers.
        """
        caller = None if self.is_over else self.caller
        self.caller = None
        self.arrays = {}
        self.pieces = []
        return caller


class Taken:
    """What one batch is made of: a part of each ticket, in order."""

    __slots__ = ("parts", "rows", "sizes", "tickets")

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.parts: list[Batch] = []
        self.sizes: list[int] = []
        self.rows = 0

    def add(self, ticket: Ticket, part: Batch, size: int) -> None:
        """Takes in a part of `size` rows."""
        self.tickets.append(ticket)
        self.parts.append(part)
        self.sizes.append(size)
        self.rows += size

    def alone(self) -> Iterator[Taken]:
        """Each part as a batch of its own."""
        for ticket, part, size in zip(self.tickets, self.parts, self.sizes):
            one = Taken()
            one.add(ticket, part, size)
            yield one


Lane = dict[Hashable, deque[Ticket]]


class Waiting:
    """Chooses who goes next. Rows are counted, not requests.

    The group of the oldest request goes first, so no group waits forever; high priority leads,
    with one batch in `HIGH_IN_A_ROW` + 1 for the others. Batches are filled up from the same group:
    first with more of the same priority, then with the other.

    `bytes` is the memory of the inputs that wait. A request that is cut counts whole until its last
    part was taken: its arrays stay whole so long.

    Args:
        late: called with a ticket whose deadline has passed when its turn comes.
    """

    def __init__(self, late: Callable[[Ticket], None]) -> None:
        self.rows = 0
        self.high_rows = 0
        self.bytes = 0
        self.high_bytes = 0
        self._late = late
        self._normal: Lane = {}
        self._high: Lane = {}
        self._in_a_row = 0

    def add(self, ticket: Ticket) -> None:
        """Lets a request wait behind those of its priority and group."""
        lane = self._high if ticket.high else self._normal
        line = lane.get(ticket.group)
        if line is None:
            lane[ticket.group] = deque((ticket,))
        else:
            line.append(ticket)
        self._count(ticket, ticket.left, ticket.nbytes)

    def remove(self, ticket: Ticket) -> None:
        """Takes out what still waits of a request."""
        if not ticket.left:
            return
        lane = self._high if ticket.high else self._normal
        line = lane[ticket.group]
        line.remove(ticket)
        if not line:
            del lane[ticket.group]
        self._count(ticket, -ticket.left, -ticket.nbytes)
        ticket.left = 0

    def tickets(self) -> list[Ticket]:
        """All that wait, in no particular order."""
        lanes = (self._high, self._normal)
        return [ticket for lane in lanes for line in lane.values() for ticket in line]

    def take(self, cap: int, now: float) -> Taken:
        """Takes out the rows of the next batch; none where all that came up were too late.

        A request of more rows than the cap is cut where the batch is full, and what is left of it
        keeps its place. Cancelled requests are dropped, late ones handed to `late`.

        Args:
            cap: the most rows.
            now: `time.monotonic()`.
        """
        taken = Taken()
        if not self.rows:
            return taken
        lead, other = self._order()
        group = _oldest(lead)
        self._fill(taken, lead, group, cap, now)
        if taken.rows < cap and group in other:
            self._fill(taken, other, group, cap, now)
        return taken

    def _order(self) -> tuple[Lane, Lane]:
        if not self._high or not self._normal:
            self._in_a_row = 0
            return (self._high, self._normal) if self._high else (self._normal, self._high)
        if self._in_a_row < HIGH_IN_A_ROW:
            self._in_a_row += 1
            return self._high, self._normal
        self._in_a_row = 0
        return self._normal, self._high

    def _fill(self, taken: Taken, lane: Lane, group: Hashable, cap: int, now: float) -> None:
        """Fills the room of a batch from one line."""
        line = lane[group]
        passed: list[Ticket] = []
        while line and taken.rows < cap and len(passed) < LOOK_PAST:
            ticket = line.popleft()
            if ticket.is_over or ticket.deadline <= now:
                self._drop(ticket)
                continue
            room = cap - taken.rows
            if ticket.left > room and ticket.rows <= cap:
                passed.append(ticket)
                continue
            size = min(room, ticket.left)
            self._count(ticket, -size, 0 if size < ticket.left else -ticket.nbytes)
            taken.add(ticket, ticket.next_part(size), size)
            if ticket.left:
                line.appendleft(ticket)
        line.extendleft(reversed(passed))
        if not line:
            del lane[group]

    def _drop(self, ticket: Ticket) -> None:
        self._count(ticket, -ticket.left, -ticket.nbytes)
        ticket.left = 0
        if not ticket.is_over:
            self._late(ticket)

    def _count(self, ticket: Ticket, rows: int, nbytes: int) -> None:
        self.rows += rows
        self.bytes += nbytes
        if ticket.high:
            self.high_rows += rows
            self.high_bytes += nbytes


def _oldest(lane: Lane) -> Hashable:
    """The group whose first request came first."""
    if len(lane) == 1:
        return next(iter(lane))
    return min(lane, key=lambda group: lane[group][0].number)
