"""Energy meters: the best one that is really there, and never "measured" without a counter.

    measured:nvml           total-energy counter of the GPUs (only if the model runs on them)
    measured:rapl           counters of the processor packages and their memory
    estimated:cpu-seconds   processor seconds of this process and its children x declared watts
    unavailable             no number

A counter is believed only once it was seen to move. RAPL and NVML count the whole package or GPU:
what else runs on it, and what it draws when idle, is in the number.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jettison.numerics.power import CORE, WattsPerCore, carbon_grams, requests_per_kwh

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"
PATIENCE_SECONDS = 0.5
"""How long a counter may take to move: RAPL moves each ms, NVML each 20 to 100 ms."""

LARGEST_WATTS = 1000.0
"""No package draws more. A counter that was not read for so long that it could have wrapped
more than once at this power gives a range."""


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """Joules since the meter was made: the value, and the range that it stands for."""

    low: float
    value: float
    high: float


NOTHING = EnergyReading(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the power comes from. Both are given by who runs the server; there is no default.

    Attributes:
        grams_per_kwh: of CO2 equivalent, of the grid at the place and time.
        pue: power usage effectiveness of the building, at least 1.
    """

    grams_per_kwh: float
    pue: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one request costs, with the rung that says so.

    Attributes:
        source: label of the meter.
        joules: per request.
        requests_per_kwh: the same, the other way round, at `joules.value`.
        carbon_grams: per request, on `grid`, at `joules.value`; `None` where no grid was given.
        grid: what `carbon_grams` assumes.
    """

    source: str
    joules: EnergyReading
    requests_per_kwh: float
    carbon_grams: float | None
    grid: Grid | None


def footprint(
    source: str, joules: EnergyReading, requests: int, grid: Grid | None = None
) -> Footprint:
    """Divides energy over requests.

    Raises:
        ValueError: if no request was answered, or no energy was counted.

    >>> found = footprint("measured:rapl", EnergyReading(2.0, 2.0, 2.0), 100, Grid(400.0, 1.2))
    >>> found.joules.value, round(found.requests_per_kwh)
    (0.02, 180000000)
    """
    if requests < 1 or not joules.low > 0.0:
        raise ValueError(f"{requests} requests and {joules} give no energy per request")
    each = EnergyReading(joules.low / requests, joules.value / requests, joules.high / requests)
    carbon = None
    if grid is not None:
        carbon = carbon_grams(each.value, grid.grams_per_kwh, grid.pue)
    return Footprint(source, each, requests_per_kwh(each.value), carbon, grid)


class EnergyMeter(Protocol):
    """One rung of the ladder."""

    @property
    def label(self) -> str:
        """`measured:nvml`, `measured:rapl`, `estimated:cpu-seconds` or `unavailable`."""
        ...

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why each better rung is not used here, one sentence each."""
        ...

    def joules(self) -> EnergyReading:
        """Joules since the meter was made; never falls. NaN where there is no number."""
        ...


class NoCounter(Exception):
    """A rung that is not there; the message says why."""


@dataclass(frozen=True, slots=True)
class EnergySettings:
    """What a meter depends on.

    Attributes:
        gpu: whether the model runs on NVIDIA GPUs; their counter says nothing of a processor.
        watts_per_core: declared power of a busy core; `None` declares nothing, so that there is
            no estimate.
        powercap: where the system shows RAPL.
    """

    gpu: bool = False
    watts_per_core: WattsPerCore | None = CORE
    powercap: Path = POWERCAP


def best_meter(settings: EnergySettings | None = None) -> EnergyMeter:
    """Gives the best meter that works here; takes up to half a second for each counter tried."""
    chosen = settings or EnergySettings()
    reasons: list[str] = []
    if chosen.gpu:
        try:
            return Counters("measured:nvml", _nvml(), ())
        except NoCounter as why:
            reasons.append(f"measured:nvml: {why}")
    else:
        reasons.append("measured:nvml: the model doesn't run on a GPU")
    try:
        return Counters("measured:rapl", _rapl(chosen.powercap), tuple(reasons))
    except NoCounter as why:
        reasons.append(f"measured:rapl: {why}")
    if chosen.watts_per_core is not None:
        return CpuSeconds(chosen.watts_per_core, tuple(reasons))
    reasons.append("estimated:cpu-seconds: no watts per core were declared")
    return Unavailable(tuple(reasons))


@dataclass(slots=True)
class Counter:
    """One counter in hardware.

    Attributes:
        read: joules now, from any start.
        wraps_at: joules at which it starts again from 0; infinite if it never does.
    """

    read: Callable[[], float]
    wraps_at: float = math.inf
    _last: float = field(init=False)
    _at: float = field(init=False)
    _sum: float = field(init=False, default=0.0)
    _unsure: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._last, self._at = self.read(), time.monotonic()

    def advance(self) -> tuple[float, float]:
        """Joules since it was made, and how many more there may be in wraps that nobody saw."""
        now, at = self.read(), time.monotonic()
        moved = now - self._last
        if moved < 0.0:
            # A counter that falls without a known range was reset: nothing is made up for it.
            moved = moved + self.wraps_at if math.isfinite(self.wraps_at) else 0.0
        possible = (at - self._at) * LARGEST_WATTS - moved
        if math.isfinite(self.wraps_at) and possible >= self.wraps_at:
            self._unsure += math.floor(possible / self.wraps_at) * self.wraps_at
        self._sum += moved
        self._last, self._at = now, at
        return self._sum, self._unsure


class Counters:
    """The sum of counters that were all seen at work."""

    def __init__(self, label: str, counters: Sequence[Counter], reasons: tuple[str, ...]) -> None:
        self.label = label
        self.reasons = reasons
        self._counters = tuple(counters)
        if not self._moves():
            raise NoCounter(f"the counter stood still for {PATIENCE_SECONDS} s")
        self._start = sum(counter.advance()[0] for counter in self._counters)

    def _moves(self) -> bool:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if any(counter.advance()[0] > 0.0 for counter in self._counters):
                return True
            time.sleep(0.005)
        return False

    def joules(self) -> EnergyReading:
        """Joules of the counters, wraps added; NaN from when one of them can't be read any more."""
        try:
            found = [counter.advance() for counter in self._counters]
        except (NoCounter, OSError, ValueError) as error:
            self.reasons = (*self.reasons[:3], f"{self.label}: the counter was lost: {error}")
            return NOTHING
        value = sum(joules for joules, _ in found) - self._start
        return EnergyReading(value, value, value + sum(more for _, more in found))


class CpuSeconds:
    """Processor seconds of this process and its children, times the declared watts of a core."""

    label = "estimated:cpu-seconds"

    def __init__(self, watts: WattsPerCore, reasons: tuple[str, ...] = ()) -> None:
        self.reasons = reasons
        self.watts = watts
        self._start = tree_seconds(os.getpid())
        self._most = 0.0

    def joules(self) -> EnergyReading:
        """Joules by the low, the likely and the high watts."""
        # A child that ended and was not waited for takes its seconds along: never count down.
        self._most = max(self._most, tree_seconds(os.getpid()) - self._start)
        watts = self.watts
        return EnergyReading(
            self._most * watts.low, self._most * watts.value, self._most * watts.high
        )


class Unavailable:
    """No meter at all."""

    label = "unavailable"

    def __init__(self, reasons: tuple[str, ...]) -> None:
        self.reasons = reasons

    def joules(self) -> EnergyReading:
        """NaN: a missing number is never a good number."""
        return NOTHING


def tree_seconds(pid: int) -> float:
    """User and system seconds of a process, of its children that ended, and of those alive."""
    import psutil

    def own(process: psutil.Process) -> float:
        times = process.cpu_times()
        waited = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return float(times.user + times.system + waited)

    try:
        process = psutil.Process(pid)
        total = own(process)
        children = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return 0.0
    for child in children:
        try:
            total += own(child)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # It ended meanwhile; what it used appears with its parent.
    return total


def _rapl(folder: Path) -> list[Counter]:
    """The counters of packages, and of the memory beside them.

    Zones inside a package (`core`, `uncore`) are parts of it, and `psys` holds it: both would
    count twice. `dram` is not part of its package.
    """
    counters: list[Counter] = []
    for zone in sorted(folder.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if not (name.startswith("package") or name == "dram"):
                continue
            wraps_at = int((zone / "max_energy_range_uj").read_text()) / 1e6
            counters.append(Counter(_file_counter(zone / "energy_uj"), wraps_at))
        except PermissionError as error:
            raise NoCounter(
                f"{error.filename} may be read by root only; to allow it: chmod a+r it at boot "
                "(it lets others on this machine guess at what is computed, CVE-2020-8694)"
            ) from error
        except (OSError, ValueError) as error:
            raise NoCounter(f"{zone} can't be read: {error}") from error
    if not counters:
        raise NoCounter(f"{folder} shows no package (a virtual machine, or no RAPL)")
    return counters


def _file_counter(path: Path) -> Callable[[], float]:
    return lambda: int(path.read_text()) / 1e6


class Nvml:
    """The library of the NVIDIA driver, asked through ctypes: a package for it would add nothing.

    Args:
        library: name or path.

    Raises:
        NoCounter: if it is not here, or its driver does not answer.
    """

    def __init__(self, library: str = NVML) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise NoCounter(f"{library} is not here: no NVIDIA driver") from error
        self.call("nvmlInit_v2")

    def call(self, name: str, *arguments: object) -> None:
        """Calls one function.

        Raises:
            NoCounter: with the number of the error.
        """
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            raise NoCounter(f"{name} gave NVML error {code}")

    def devices(self) -> list[ctypes.c_void_p]:
        """A handle of each GPU, in the driver's order.

        Raises:
            NoCounter: if there is none.
        """
        count = ctypes.c_uint()
        self.call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        handles = [ctypes.c_void_p() for _ in range(count.value)]
        for index, handle in enumerate(handles):
            self.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        if not handles:
            raise NoCounter("the driver shows no GPU")
        return handles


def _nvml(library: str = NVML) -> list[Counter]:
    """The total-energy counters of all GPUs."""
    nvml = Nvml(library)

    def joules(handle: ctypes.c_void_p) -> float:
        millijoules = ctypes.c_ulonglong()
        nvml.call("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.byref(millijoules))
        return millijoules.value / 1e3

    return [Counter(functools.partial(joules, handle)) for handle in nvml.devices()]
