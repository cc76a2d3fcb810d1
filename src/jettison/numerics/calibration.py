"""Activation ranges from one streaming pass, in memory that does not grow with the rows.

Every tensor is watched by one `Histogram`: exact extremes, and counts in a fixed number of bins
whose width doubles when a value falls outside. Bins start at whole multiples of a power of two, so
that two neighbours always merge into one bin of the doubled width: re-binning loses nothing but
resolution. Each calibrator reads its range from the finished histogram, so that one pass over the
fitting rows serves them all, and a new calibrator is one class with `range`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jettison.domain.files import write_atomically
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed

BINS = 2048
"""Between half of these and all of them lie between the smallest and the largest value."""

FINEST = 30
"""Bins are never narrower than the largest magnitude / 2^FINEST: float32 has 24 digits."""

PIECE = 2**15
"""Values that are counted at a time."""

Counts = npt.NDArray[np.int64]


@dataclass(slots=True)
class Histogram:
    """Counts of the values of one tensor. Bin i holds values in [(first + i) w, (first + i + 1) w).

    Attributes:
        exponent: the bin width w is 2^exponent; `None` before the first value.
        first: index of the first bin, in bin widths from zero.
        counts: shape (BINS,).
        lowest, highest: exact extremes.
    """

    exponent: int | None = None
    first: int = 0
    counts: Counts = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    lowest: float = math.inf
    highest: float = -math.inf

    @property
    def total(self) -> int:
        """Number of values seen."""
        return int(self.counts.sum())

    @property
    def width(self) -> float:
        """Width of a bin, in the unit of the tensor; 0 before the first value."""
        return 0.0 if self.exponent is None else math.ldexp(1.0, self.exponent)

    def update(self, values: Array) -> None:
        """Counts the values of one batch, of any shape.

        Raises:
            ValueError: if a value is NaN or infinite.
        """
        flat = np.asarray(values).ravel()
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("a value is NaN or infinite")
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        exponent = self._widen()
        # Scaling by a power of two is exact, in float32 too where neither end of its range is near.
        kind = np.float32 if flat.dtype == np.float32 and abs(exponent) < 100 else np.float64
        scale = kind(math.ldexp(1.0, -exponent))
        # In pieces that stay in the cache: networks for images hand over billions of values.
        for start in range(0, len(flat), PIECE):
            scaled = np.multiply(flat[start : start + PIECE], scale, dtype=kind)
            places = np.floor(scaled).astype(np.int64)
            places -= self.first
            self.counts += np.bincount(places, minlength=BINS)

    def _widen(self) -> int:
        """Makes bins wide enough, and moves them, so that both extremes lie inside."""
        exponent = _exponent_for(self.lowest, self.highest)
        if self.exponent is None:
            self.exponent = exponent
        exponent = max(exponent, self.exponent)
        first = _place(self.lowest, exponent)
        filled = np.flatnonzero(self.counts)
        # Floor division of a bin's index by a power of two is the index of the wider bin.
        places = ((filled + self.first) >> (exponent - self.exponent)) - first
        counts = np.zeros(BINS, dtype=np.int64)
        np.add.at(counts, places, self.counts[filled])
        self.exponent, self.first, self.counts = exponent, first, counts
        return exponent

    def quantile(self, fraction: float) -> float:
        """The middle of the bin that holds the value of that rank, within the extremes."""
        rank = max(1, math.ceil(fraction * self.total))
        place = int(np.searchsorted(np.cumsum(self.counts), rank))
        middle = (self.first + place + 0.5) * self.width
        return min(max(middle, self.lowest), self.highest)


def _place(value: float, exponent: int) -> int:
    return math.floor(math.ldexp(value, -exponent))


def _exponent_for(low: float, high: float) -> int:
    """The smallest power of two as width for which both values fall within BINS bins."""
    largest = max(abs(low), abs(high))
    if largest == 0.0:
        return -149  # The finest step of float32.
    exponent = max(-149, math.frexp(largest)[1] - FINEST)
    spread = high - low
    if spread > 0.0:
        exponent = max(exponent, math.frexp(spread)[1] - BINS.bit_length() - 1)
    while _place(high, exponent) - _place(low, exponent) >= BINS:
        exponent += 1
    return exponent


class Calibrator(Protocol):
    """Chooses the range that 8 bits must cover; values outside it are clipped to its ends."""

    def range(self, seen: Histogram) -> tuple[float, float]:
        """Gives the lowest and the highest value to represent."""
        ...


@dataclass(frozen=True, slots=True)
class MinMax:
    """Covers every value seen."""

    def range(self, seen: Histogram) -> tuple[float, float]:
        return seen.lowest, seen.highest


@dataclass(frozen=True, slots=True)
class Percentile:
    """Covers the given percentage of the values; what it leaves out is cut equally at both ends."""

    percentage: float = 99.99

    def range(self, seen: Histogram) -> tuple[float, float]:
        cut = (1.0 - self.percentage / 100.0) / 2.0
        return seen.quantile(cut), seen.quantile(1.0 - cut)


def watch(
    names: Iterable[str],
    batches: Iterable[Batch],
    run: Callable[[Batch], Iterable[tuple[str, Array]]],
) -> dict[str, Histogram]:
    """Runs every batch once and keeps one histogram per tensor.

    Args:
        names: the tensors to watch.
        batches: calibration rows.
        run: gives the named tensors of a batch, one after the other, so that it decides how many
            of them are in memory at once.

    Raises:
        CandidateFailed: if a tensor holds NaN or infinity, or there is no row.
    """
    seen = {name: Histogram() for name in names}
    rows = 0
    for batch in batches:
        _check_inputs(batch, rows)
        for name, values in run(batch):
            try:
                seen[name].update(values)
            except ValueError as error:
                raise CandidateFailed(
                    f"the activation `{name}` is NaN or infinite for a calibration row among "
                    f"{rows} to {rows + _size(batch) - 1}, so it has no range; correct those rows, "
                    "or leave that operator in float"
                ) from error
        rows += _size(batch)
    if not rows:
        raise CandidateFailed("there are no calibration rows; static ranges need at least one")
    return seen


def _size(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _check_inputs(batch: Batch, start: int) -> None:
    for name, values in batch.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise CandidateFailed(
                f"the input `{name}` of calibration row {start + row} is NaN or infinite, so "
                "activation ranges can't be found; fill or drop that row"
            )


def remembered(memory: Path, find: Callable[[], dict[str, Histogram]]) -> dict[str, Histogram]:
    """Reads histograms from a file, or finds them and writes the file.

    Args:
        memory: its name carries the digests that the histograms depend on.
        find: the streaming pass; not called when the file is there.
    """
    if not memory.exists():
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **_arrays(find()))
        write_atomically(memory, buffer.getvalue())
    return _read(memory)


def _arrays(seen: Mapping[str, Histogram]) -> dict[str, Array]:
    names = sorted(seen)
    return {
        "names": np.array(names, dtype=np.str_),
        "exponents": np.array([seen[n].exponent or 0 for n in names], dtype=np.int64),
        "firsts": np.array([seen[n].first for n in names], dtype=np.int64),
        "extremes": np.array([(seen[n].lowest, seen[n].highest) for n in names], dtype=np.float64),
        "counts": np.array([seen[n].counts for n in names], dtype=np.int64).reshape(-1, BINS),
    }


def _read(path: Path) -> dict[str, Histogram]:
    with np.load(path, allow_pickle=False) as stored:
        parts = {name: stored[name] for name in stored.files}
    return {
        str(name): Histogram(
            exponent=int(parts["exponents"][i]),
            first=int(parts["firsts"][i]),
            counts=parts["counts"][i].copy(),
            lowest=float(parts["extremes"][i, 0]),
            highest=float(parts["extremes"][i, 1]),
        )
        for i, name in enumerate(parts["names"])
    }
