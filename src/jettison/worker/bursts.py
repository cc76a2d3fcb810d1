"""Timed calls: the same batches in the same order for every variant, none of them too short."""

from __future__ import annotations

import math
import resource
import statistics
import time

import numpy as np

from jettison.domain.extension_points import Runner
from jettison.domain.jobs import Burst
from jettison.domain.rows import Array, Rows

SHORTEST_CALL_SECONDS = 0.02
"""A timed call lasts at least this long; shorter ones are repeated and divided."""

WARM_AGREEMENT = 0.02
WARM_BLOCKS = 8
WARM_BLOCK_CALLS = 3
WARM_SECONDS = 1.0
"""Warm-up ends when two medians agree, after 8 blocks, after a block that ends later, or with a
second call that ends later and alone took a good part of that."""

DECK_BATCHES = 40
"""8 rounds of 5 calls: with ragged rows, every variant meets the same lengths in each round."""

DECK_BYTES = 16_000_000

LENGTH_BATCHES = 4
"""Batches of one length: they only differ in what they say."""

Shape = tuple[int, int]
"""Rows of a call, and the length that they are brought to (0: as they come)."""

Call = list[dict[str, Array]]
"""What one call runs: one batch, or its rows one by one."""


class Bursts:
    """Runs timed calls on batches drawn from rows at even distances.

    Where all batches have one shape, the repeats of a short call go through the whole deck, so
    that caches and branch predictors don't learn one row. Where rows are ragged, the repeats stay
    with one batch: variants of different speed then still meet the same lengths.
    """

    def __init__(self, runner: Runner, rows: Rows, one_by_one: bool) -> None:
        self._runner = runner
        self._rows = rows
        self._one_by_one = one_by_one
        self._decks: dict[Shape, list[Call]] = {}
        self._repeats: dict[Shape, int] = {}
        self._place: dict[Shape, int] = {}

    def run(self, batch_size: int, calls: int, length: int = 0) -> Burst:
        """One discarded call, then `calls` timed ones.

        Args:
            batch_size: rows of a call.
            calls: timed ones.
            length: that all rows are brought to; 0 takes them as they come.

        Returns:
            Seconds of each call of `batch_size` rows; CPU seconds of these calls together
            (repeats divided out); how many timed calls were preempted.
        """
        shape = (batch_size, length)
        if shape not in self._decks:
            self._decks[shape] = self._deal_length(shape) if length else self._deal(batch_size)
            self._place[shape] = 0
            self._repeats[shape] = self._warm_up(shape)
        repeats = self._repeats[shape]
        self._call(shape, self._place[shape], repeats)
        seconds, cpu, preempted = [], 0.0, 0
        for _ in range(calls):
            switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
            cpu_before, before = time.process_time(), time.perf_counter()
            self._call(shape, self._place[shape], repeats)
            after, cpu_after = time.perf_counter(), time.process_time()
            preempted += resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > switches
            seconds.append((after - before) / repeats)
            cpu += (cpu_after - cpu_before) / repeats
            self._place[shape] += 1
        return Burst(tuple(seconds), cpu, preempted)

    def rewind(self) -> None:
        """Lets timed calls begin with the first batches again, as those of a new session do."""
        self._place = dict.fromkeys(self._place, 0)

    def _call(self, shape: Shape, place: int, repeats: int) -> None:
        deck = self._decks[shape]
        stride = 0 if self._rows.pad else 1
        run = self._runner.run
        for repeat in range(repeats):
            for batch in deck[(place + repeat * stride) % len(deck)]:
                run(batch)

    def _deal(self, batch_size: int) -> list[Call]:
        """Draws batches at even distances; rows wrap around where there are too few."""
        n = self._rows.n
        first = self._batch(0, batch_size)
        size = sum(array.nbytes for batch in first for array in batch.values())
        count = max(1, min(DECK_BATCHES, n // batch_size, DECK_BYTES // max(size, 1)))
        return [first] + [self._batch(place * n // count, batch_size) for place in range(1, count)]

    def _deal_length(self, shape: Shape) -> list[Call]:
        """Draws batches of the rows whose lengths are nearest to one length."""
        size, length = shape
        order = self._rows.nearest(length)
        deck = []
        for start in range(0, max(1, min(LENGTH_BATCHES, self._rows.n // size))):
            index = order[(start * size + np.arange(size)) % self._rows.n]
            pieces = [index[i : i + 1] for i in range(size)] if self._one_by_one else [index]
            deck.append([self._rows.of_length(piece, length) for piece in pieces])
        return deck

    def _batch(self, start: int, batch_size: int) -> Call:
        index = (start + np.arange(batch_size)) % self._rows.n
        if self._one_by_one:
            return [self._rows.batch(index[i : i + 1]) for i in range(batch_size)]
        return [self._rows.batch(index)]

    def _warm_up(self, shape: Shape) -> int:
        """Calls until two block medians agree; gives the repeats of a timed call."""
        begun = time.perf_counter()
        medians: list[float] = []
        for block in range(WARM_BLOCKS):
            repeats = self._repeats_for(medians[-1]) if medians else 1
            times = []
            for call in range(WARM_BLOCK_CALLS):
                before = time.perf_counter()
                self._call(shape, block * WARM_BLOCK_CALLS + call, repeats)
                now = time.perf_counter()
                times.append((now - before) / repeats)
                # The first call of a shape may be slow by itself. One such call less in every process
                # is minutes where networks are large.
                late = now - begun > WARM_SECONDS and len(times) > 1
                if late and now - before > WARM_SECONDS / WARM_BLOCK_CALLS:
                    return self._repeats_for(times[-1])
            medians.append(statistics.median(times))
            if block and abs(medians[-1] / medians[-2] - 1.0) <= WARM_AGREEMENT:
                break
            if time.perf_counter() - begun > WARM_SECONDS:
                break
        return self._repeats_for(medians[-1])

    @staticmethod
    def _repeats_for(seconds: float) -> int:
        return max(1, math.ceil(SHORTEST_CALL_SECONDS / max(seconds, 1e-7)))
