"""How long a step ran the model, apart from editing it: counted for whoever asks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class RunningTime:
    """Seconds in which the model ran on fitting rows, summed while `counted` is open."""

    seconds: float = 0.0
    inside: bool = False


_asked: ContextVar[RunningTime | None] = ContextVar("running_time", default=None)


@contextlib.contextmanager
def counted() -> Iterator[RunningTime]:
    """Sums what `running` marks in this block."""
    meter = RunningTime()
    token = _asked.set(meter)
    try:
        yield meter
    finally:
        _asked.reset(token)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Marks work as running the model: calibration, sensitivity, a check of its answers.

    Marks within marks count once; where nobody counts, this does nothing.
    """
    meter = _asked.get()
    if meter is None or meter.inside:
        yield
        return
    meter.inside = True
    begun = time.monotonic()
    try:
        yield
    finally:
        meter.seconds += time.monotonic() - begun
        meter.inside = False
