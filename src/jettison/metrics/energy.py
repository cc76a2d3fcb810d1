"""Energy that one answer costs, as estimated from processor time."""

from __future__ import annotations

from typing import ClassVar

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import CostReading, Session
from jettison.domain.measurement import Better
from jettison.domain.model import Model
from jettison.numerics.power import CORE

CALLS = 5


class EnergyJ:
    """Joules per example: processor seconds of all threads times the declared watts of a core.

    It is an estimate and says so in its unit. Ratios of it are ratios of processor time, so a gain
    in `energy_j` says as much as one in `cpu_ms`, and nothing of memory, idle power or clock.
    """

    name: ClassVar[str] = "energy_j"
    unit: ClassVar[str] = "J (estimated:cpu-seconds)"
    better: ClassVar[Better] = "lower"
    timed: ClassVar[bool] = True
    of_processor: ClassVar[bool] = True

    def observe(self, model: Model, session: Session, serving: ServingProfile) -> CostReading:
        """Takes one turn: a discarded call and some timed ones at every batch size."""
        curve = {}
        for size in serving.batch_sizes:
            burst = session.burst(size, CALLS)
            curve[size] = burst.cpu_seconds / len(burst.seconds) / size * CORE.value
        value = sum(curve[s] * weight for s, weight in zip(serving.batch_sizes, serving.weights))
        return CostReading(value, curve, CALLS)
