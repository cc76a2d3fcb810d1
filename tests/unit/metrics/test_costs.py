"""Cost metrics: per example, weighted by the serving profile, read from a session."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Burst, Ready, Resources
from jettison.domain.model import Model
from jettison.metrics.energy import EnergyJ
from jettison.metrics.latency import CpuMs, LatencyMs
from jettison.metrics.memory import PeakMemoryBytes, SizeBytes
from jettison.numerics.power import CORE


@dataclass
class Scripted:
    """A session whose calls take 10 ms and 1 ms a row, and whose memory grows with the batch."""

    peak: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def ready(self) -> Ready:
        return Ready(0.1, 0.01, 1)

    def burst(self, batch_size: int, calls: int) -> Burst:
        self.asked.append((batch_size, calls))
        self.peak = max(self.peak, 1000 * batch_size)
        seconds = 0.010 + 0.001 * batch_size
        return Burst((seconds,) * (calls - 1) + (9.0,), 2 * seconds * calls, 0)

    def resources(self) -> Resources:
        return Resources(self.peak, 500, 0.0)


PROFILE = ServingProfile((1, 10), (0.25, 0.75))


def test_latency_is_the_median_per_example(network: Model) -> None:
    """One slow call does not move the reading; batches are divided by their rows."""
    reading = LatencyMs().observe(network, Scripted(), PROFILE)
    assert reading.by_batch_size == pytest.approx({1: 11.0, 10: 2.0})
    assert reading.value == pytest.approx(0.25 * 11.0 + 0.75 * 2.0)


def test_cpu_time_is_the_mean_per_example(network: Model) -> None:
    """Two busy threads cost twice the wall time."""
    reading = CpuMs().observe(network, Scripted(), PROFILE)
    assert reading.by_batch_size == pytest.approx({1: 22.0, 10: 4.0})


def test_energy_is_processor_time_at_the_declared_watts(network: Model) -> None:
    """Without a counter the joules are an estimate, and the unit says so."""
    reading = EnergyJ().observe(network, Scripted(), PROFILE)
    assert reading.by_batch_size == pytest.approx({1: 0.022 * CORE.value, 10: 0.004 * CORE.value})
    assert reading.value == pytest.approx((0.25 * 0.022 + 0.75 * 0.004) * CORE.value)
    assert "estimated:cpu-seconds" in EnergyJ.unit


def test_peak_memory_is_that_of_the_largest_batch(network: Model) -> None:
    """Every batch size is served before the peak is read, smallest first."""
    session = Scripted()
    profile = ServingProfile((10, 1), (0.5, 0.5))
    reading = PeakMemoryBytes().observe(network, session, profile)
    assert [size for size, _ in session.asked] == [1, 10]
    assert reading.by_batch_size == {1: 1000.0, 10: 10_000.0}
    assert reading.value == 10_000.0


def test_size_is_that_of_the_saved_files(network: Model) -> None:
    """Size needs no call at all."""
    session = Scripted()
    reading = SizeBytes().observe(network, session, PROFILE)
    assert reading.value == network.artifact.path.stat().st_size
    assert session.asked == []
