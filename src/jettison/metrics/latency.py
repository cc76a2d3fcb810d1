"""Time that one answer costs: on the wall, and of the processor."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import ClassVar

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import CostReading, Session
from jettison.domain.jobs import Burst
from jettison.domain.measurement import Better
from jettison.domain.model import Model

CALLS = 5


class LatencyMs:
    """Milliseconds of wall time per example, in calls of each batch size: median of the calls."""

    name: ClassVar[str] = "latency_ms"
    unit: ClassVar[str] = "ms"
    better: ClassVar[Better] = "lower"
    timed: ClassVar[bool] = True

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Takes one turn: a discarded call and some timed ones at every batch size."""
        return _reading(session, serving, lambda burst: statistics.median(burst.seconds))


class CpuMs:
    """Milliseconds of processor time per example, of all threads: mean of the calls."""

    name: ClassVar[str] = "cpu_ms"
    unit: ClassVar[str] = "ms"
    better: ClassVar[Better] = "lower"
    timed: ClassVar[bool] = True

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Takes one turn: a discarded call and some timed ones at every batch size."""
        return _reading(session, serving, lambda burst: burst.cpu_seconds / len(burst.seconds))


def _reading(
    session: Session, serving: ServingProfile, seconds: Callable[[Burst], float]
) -> CostReading:
    curve = {size: seconds(session.burst(size, CALLS)) / size * 1e3 for size in serving.batch_sizes}
    value = sum(curve[s] * weight for s, weight in zip(serving.batch_sizes, serving.weights))
    return CostReading(value, curve, CALLS)
