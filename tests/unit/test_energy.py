"""Meters: "measured" only where a counter moved; wraps, permissions and estimates."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison import energy
from jettison.energy import (
    Counter,
    CpuSeconds,
    EnergyReading,
    EnergySettings,
    Grid,
    best_meter,
    footprint,
)
from jettison.numerics.power import CORE, WattsPerCore, carbon_grams, requests_per_kwh

RANGE_UJ = 262_143_328_850


def zone(folder: Path, name: str, title: str, microjoules: int) -> Path:
    """Writes one RAPL zone as the kernel shows it."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "name").write_text(f"{title}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path


class Running:
    """A package that uses energy, as a file that another thread keeps writing."""

    def __init__(self, path: Path, step_uj: int) -> None:
        self._path, self._step = path / "energy_uj", step_uj
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        value = int(self._path.read_text())
        while not self._stop.wait(0.01):
            value += self._step
            part = self._path.with_suffix(".part")
            part.write_text(str(value))
            os.replace(part, self._path)

    def stop(self) -> None:
        """Lets the counter stand still."""
        self._stop.set()
        self._thread.join()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A sysfs tree of one package with parts, memory, and the whole platform."""
    package = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000)
    zone(tmp_path, "intel-rapl:1", "psys", 9_000_000)
    (tmp_path / "intel-rapl").mkdir()
    running = Running(package, 50_000)
    yield tmp_path
    running.stop()


def test_packages_and_memory_are_added_and_their_parts_are_not(tree: Path) -> None:
    """`core` lies inside its package and `psys` around it: only package and dram count."""
    meter = best_meter(EnergySettings(powercap=tree))
    assert meter.label == "measured:rapl"
    (tree / "intel-rapl:0:0" / "energy_uj").write_text("900000000")
    (tree / "intel-rapl:1" / "energy_uj").write_text("900000000")
    before = meter.joules().value
    (tree / "intel-rapl:0:1" / "energy_uj").write_text("7000000")
    moved = meter.joules().value - before
    assert 5.0 <= moved < 100.0


def test_a_counter_that_stands_still_is_not_a_measurement(tmp_path: Path) -> None:
    """A zone that shows a number which never moves leads to the next rung, and it is said why."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    meter = best_meter(EnergySettings(powercap=tmp_path))
    assert meter.label == "estimated:cpu-seconds"
    assert any("stood still" in reason for reason in meter.reasons)


NOBODY = 65534
ASK = """
import os, sys, psutil
from pathlib import Path
from jettison.energy import EnergySettings, best_meter
if os.geteuid() == 0:
    os.setuid(int(sys.argv[2]))
meter = best_meter(EnergySettings(powercap=Path(sys.argv[1])))
print(meter.label, *meter.reasons, sep="|")
"""


def test_a_counter_for_root_only_is_not_used() -> None:
    """Without permission the next rung is used, and the reason says how to allow it."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        (zone(Path(place), "intel-rapl:0", "package-0", 1_000_000) / "energy_uj").chmod(0o400)
        if os.geteuid() != 0:
            (Path(place) / "intel-rapl:0" / "energy_uj").chmod(0)
        command = [sys.executable, "-c", ASK, place, str(NOBODY)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("estimated:cpu-seconds|")
    assert "chmod a+r" in told


def test_a_machine_without_counters_gives_an_estimate_with_a_range(tmp_path: Path) -> None:
    """No powercap at all: estimated, low <= value <= high, and never the word measured."""
    meter = best_meter(EnergySettings(powercap=tmp_path))
    assert meter.label == "estimated:cpu-seconds"
    until = time.process_time() + 0.05
    while time.process_time() < until:
        sum(range(1000))
    found = meter.joules()
    assert 0 < found.low < found.value < found.high
    assert found.value / found.low == pytest.approx(CORE.value / CORE.low)
    assert len(meter.reasons) == 2


def test_without_declared_watts_there_is_no_number(tmp_path: Path) -> None:
    """Nothing declared, nothing counted: unavailable, and NaN instead of a zero."""
    meter = best_meter(EnergySettings(powercap=tmp_path, watts_per_core=None))
    assert meter.label == "unavailable"
    assert math.isnan(meter.joules().value)


def test_a_gpu_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Where the model should run on a GPU but no driver is found, the reason is kept."""
    meter = best_meter(EnergySettings(gpu=True, powercap=tmp_path))
    assert not meter.label.startswith("measured")
    assert meter.reasons[0].startswith("measured:nvml: ")


def test_a_wrap_is_added() -> None:
    """A counter that starts again from 0 goes on counting."""
    values = iter([250.0, 260.0, 5.0, 6.0])
    counter = Counter(lambda: next(values), wraps_at=262.0)
    assert counter.advance() == (10.0, 0.0)
    assert counter.advance()[0] == pytest.approx(17.0)
    assert counter.advance()[0] == pytest.approx(18.0)


def test_wraps_that_nobody_saw_widen_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour without a reading a small counter may have wrapped: the high end says so."""
    now = [0.0]
    monkeypatch.setattr(energy.time, "monotonic", lambda: now[0])
    values = iter([0.0, 100.0])
    counter = Counter(lambda: next(values), wraps_at=65_536.0)
    now[0] = 3600.0
    sure, more = counter.advance()
    assert sure == 100.0
    assert more == 54 * 65_536.0


def test_a_counter_that_was_reset_adds_nothing() -> None:
    """Without a known range a fall is a reset of the driver, not energy."""
    values = iter([500.0, 510.0, 2.0, 4.0])
    counter = Counter(lambda: next(values))
    assert [counter.advance()[0] for _ in range(3)] == [10.0, 10.0, 12.0]


def test_a_counter_that_is_lost_gives_no_number(tree: Path) -> None:
    """When the file goes away the meter says so, instead of standing still."""
    meter = best_meter(EnergySettings(powercap=tree))
    (tree / "intel-rapl:0:1" / "energy_uj").unlink()
    assert math.isnan(meter.joules().value)
    assert "lost" in meter.reasons[-1]


def test_children_count_and_the_sum_never_falls() -> None:
    """Processor seconds of a child are there while it runs and after it has ended."""
    meter = CpuSeconds(WattsPerCore(1.0, 1.0, 1.0))
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(1, flush=True)\ninput()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    alive = meter.joules().value
    child.communicate("\n", timeout=30)
    ended = meter.joules().value
    # The kernel hands out processor time in ticks of 10 ms, rounded down for user and system each.
    assert alive >= 0.25
    assert ended >= alive


def test_a_footprint_is_a_count_over_energy() -> None:
    """Joules per request, its reverse, and carbon with the factors that were stated."""
    found = footprint("measured:rapl", EnergyReading(72.0, 72.0, 80.0), 1000, Grid(380.0, 1.25))
    assert found.joules == EnergyReading(0.072, 0.072, 0.08)
    assert found.requests_per_kwh == pytest.approx(5e7)
    assert found.carbon_grams == pytest.approx(0.072 / 3.6e6 * 380.0 * 1.25)
    assert found.grid == Grid(380.0, 1.25)
    assert footprint("measured:rapl", EnergyReading(1.0, 1.0, 1.0), 1).carbon_grams is None


@pytest.mark.parametrize(
    ("reading", "requests"),
    [(EnergyReading(1, 1, 1), 0), (EnergyReading(0, 0, 0), 5), (energy.NOTHING, 5)],
)
def test_no_energy_per_request_without_energy_or_requests(
    reading: EnergyReading, requests: int
) -> None:
    """What can't be divided is an error, never 0 J."""
    with pytest.raises(ValueError, match="no energy per request"):
        footprint("estimated:cpu-seconds", reading, requests)


def test_factors_must_be_possible() -> None:
    """A PUE below 1, negative grids and watts out of order are refused."""
    with pytest.raises(ValueError, match="PUE"):
        carbon_grams(1.0, 400.0, 0.9)
    with pytest.raises(ValueError, match="PUE"):
        carbon_grams(1.0, -1.0, 1.0)
    with pytest.raises(ValueError, match="ascending"):
        WattsPerCore(5.0, 4.0, 12.0)
    assert requests_per_kwh(1.0) == 3.6e6
