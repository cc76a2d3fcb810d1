"""`Rates`: how fast this machine moves bytes and multiplies, measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jettison.domain.device import ServingProfile

FLOAT = "float32"
INTEGER = "int8"
HALF = "float16"

READINGS = 9
SHORTEST_SECONDS = 0.02
"""Of a reading: shorter calls are repeated within it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate: what a quarter of the readings reached, so that neither interruptions nor one odd
    reading count.

    Attributes:
        peak: the upper quartile of the readings, in units per second.
        median: of the readings; far below `peak` where the machine was not steady.
        n: readings.
    """

    peak: float
    median: float
    n: int

    @staticmethod
    def of(readings: Sequence[float]) -> Rate:
        """Sums up readings, in units per second."""
        quartiles = statistics.quantiles(readings, n=4, method="inclusive")
        return Rate(quartiles[2], quartiles[1], len(readings))

    @staticmethod
    def reached(call: Callable[[], object], amount: float) -> Rate:
        """Times a call that does `amount` of something, after two calls that warm it up."""
        begun = time.perf_counter()
        call()
        call()
        once = (time.perf_counter() - begun) / 2
        repeats = max(1, int(SHORTEST_SECONDS / max(once, 1e-7)))
        readings = []
        for _ in range(READINGS):
            begun = time.perf_counter()
            for _ in range(repeats):
                call()
            readings.append(amount * repeats / (time.perf_counter() - begun))
        return Rate.of(readings)


@dataclass(frozen=True, slots=True)
class Level:
    """One place that weights are read from.

    Attributes:
        name: `L2`, `L3`, `memory`.
        bytes: that it holds.
        rate: bytes read per second, from a working set of half of that (for memory: of four
            times the largest cache).
    """

    name: str
    bytes: int
    rate: Rate


@dataclass(frozen=True, slots=True)
class Rates:
    """What this machine reaches at most, with so many threads.

    Attributes:
        threads: computing threads.
        levels: the smallest and fastest first; `memory` last.
        products: kind of number (`float32`, `int8`, `float16`) -> multiply-accumulates per second
            in large matrix products, the best that an installed runtime reaches; a kind that none
            can run is absent.
        busy: whether others competed for the machine, so that the rates are too low.
        seconds: that it took.
        note: what others did meanwhile, or why something is missing.
    """

    threads: int
    levels: tuple[Level, ...]
    products: Mapping[str, Rate] = field(default_factory=dict)
    busy: bool = False
    seconds: float = 0.0
    note: str = ""

    def ratio(self, kind: str) -> float | None:
        """How many times faster products of a kind are than those of 32-bit floats.

        `None` where either is not known, or the machine was too busy to tell.
        """
        own, base = self.products.get(kind), self.products.get(FLOAT)
        if self.busy or own is None or base is None or base.peak <= 0:
            return None
        return own.peak / base.peak

    def level_for(self, size: int) -> Level | None:
        """The fastest place that holds so many bytes; `None` where nothing was measured."""
        return next(
            (level for level in self.levels if level.bytes >= size),
            self.levels[-1] if self.levels else None,
        )


@runtime_checkable
class TellsRates(Protocol):
    """What a runtime may have besides: it can tell how fast it multiplies on this machine."""

    def product_rates(self, serving: ServingProfile) -> Mapping[str, Rate]:
        """Multiply-accumulates per second in a large matrix product, by kind of number.

        Runs in a worker process, for a second or two.
        """
        ...
