"""Drift of sampled requests and answers against the sketch of the bundle."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from jettison.domain.rows import Array
from jettison.statistics.drift import Drift, compare
from jettison.trust.sketch import FeatureSketch, Sketch, read_values

ROWS_AT_ONCE = 64
ROWS_OF_REQUEST = 8
BLOCK_ROWS = 250
BLOCKS = 8
"""The window is the last 8 blocks of 250 sampled rows; only counts are kept of them."""

LARGEST_PENDING_BYTES = 8 << 20

Arrays = Mapping[str, Array]


class DriftWatch:
    """Counts features of sampled rows in a moving window.

    It looks at one request at most every `pause` seconds: at a low rate at every request, at a
    high one at a bounded number. Of a large request it takes the first rows.

    Args:
        sketch: of the bundle; without features there is nothing to watch.
        pause: seconds between two sampled requests.
        clock: monotonic seconds.
    """

    def __init__(
        self, sketch: Sketch, pause: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause = pause
        self._clock = clock
        self._next = -np.inf
        self._features = (*sketch.inputs, *sketch.outputs)
        self._tensors = {one.feature.tensor for one in self._features}
        self._pending: list[Arrays] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._blocks: deque[list[Array]] = deque(maxlen=BLOCKS)
        self._current = self._zeros()
        self._current_rows = 0

    @property
    def rows(self) -> int:
        """Sampled rows in the window."""
        self._flush()
        return self._current_rows + sum(int(block[0].sum()) for block in self._blocks)

    def observe(self, inputs: Arrays, outputs: Arrays) -> None:
        """Samples one answered request."""
        now = self._clock()
        if not self._features or now < self._next:
            return
        self._next = now + self._pause
        both = {**inputs, **outputs}
        taken = {
            name: np.array(both[name][:ROWS_OF_REQUEST]) for name in self._tensors if name in both
        }
        if len(taken) < len(self._tensors):
            return  # Answers of another model, that the sketch says nothing about.
        self._pending.append(taken)
        self._pending_rows += min(len(values) for values in taken.values())
        self._pending_bytes += sum(values.nbytes for values in taken.values())
        if self._pending_rows >= ROWS_AT_ONCE or self._pending_bytes >= LARGEST_PENDING_BYTES:
            self._flush()

    def drifts(self) -> Iterator[tuple[str, Drift | None]]:
        """Each feature with how far it is from the sketch; `None` while too few rows were seen."""
        self._flush()
        for place, one in enumerate(self._features):
            live = self._current[place] + sum(block[place] for block in self._blocks)
            yield one.feature.name, self._compared(one, live)

    def _compared(self, one: FeatureSketch, live: Array) -> Drift | None:
        tests = len(self._features)
        return compare(one.counts, live.tolist(), ordered=one.ordered, tests=tests)

    def _zeros(self) -> list[Array]:
        return [np.zeros(len(one.counts), np.int64) for one in self._features]

    def _flush(self) -> None:
        if not self._pending:
            return
        joined = {
            name: _joined([taken[name] for taken in self._pending]) for name in self._tensors
        }
        for place, one in enumerate(self._features):
            for values in joined[one.feature.tensor]:
                self._current[place] += one.count(read_values(one.feature, values))
        self._current_rows += self._pending_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if self._current_rows >= BLOCK_ROWS:
            self._blocks.append(self._current)
            self._current, self._current_rows = self._zeros(), 0


def _joined(arrays: Sequence[Array]) -> list[Array]:
    """Puts arrays of one shape together: rows of a free dimension differ from call to call."""
    by_shape: dict[tuple[int, ...], list[Array]] = {}
    for values in arrays:
        by_shape.setdefault(values.shape[1:], []).append(values)
    return [np.concatenate(alike) for alike in by_shape.values()]
