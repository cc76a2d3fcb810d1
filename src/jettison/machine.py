"""This machine: what it is, what a process uses, and whether others compete for it."""

from __future__ import annotations

import functools
import os
import platform
import resource
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from jettison.domain import accelerators
from jettison.domain.device import Device

FEATURES = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""The instruction sets that decide which kernels run, and what integers give."""

PACKAGES = (
    "jettison",
    "numpy",
    "scipy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "nncf",
    "torch",
    "torch-pruning",
    "torchao",
    "transformers",
    "tokenizers",
    "safetensors",
    "scikit-learn",
    "skl2onnx",
    "skops",
)

STEAL_SHARE = 0.02
PREEMPTED_SHARE = 0.25
SPARE_CORES = 0.25
NOTICEABLE_CORES = 0.25


@functools.cache
def describe_device() -> Device:
    """Describes the CPU, the memory, the system, and the packages that touch the numbers."""
    facts = _cpu_facts()
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # Optional: what is not installed can't touch a number.
    gpus = accelerators.cuda_devices()
    if gpus:
        versions["cuda gpu"] = ", ".join(gpus)
    return Device(
        cpu=facts.get("model name") or platform.processor() or "unknown",
        architecture=platform.machine(),
        features=tuple(name for name in FEATURES if name in flags),
        cores=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.release()}",
        versions=versions,
    )


def cores() -> int:
    """Logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def caches() -> Mapping[str, int]:
    """Bytes of the caches that one core reads data through (`L1`, `L2`, `L3`), the nearest first.

    Empty where the system does not tell.
    """
    found: dict[str, int] = {}
    for place in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (place / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        unit = {"K": 2**10, "M": 2**20}.get(size[-1:], 0)
        if kind != "Instruction" and unit and size[:-1].isdigit():
            found[f"L{level}"] = int(size[:-1]) * unit
    return dict(sorted(found.items()))


def _cpu_facts() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    if path.exists():
        for line in path.read_text().partition("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            facts[key.strip()] = value.strip()
    return facts


def memory_bytes() -> int:
    """Resident memory of this process now."""
    return _status_bytes(os.getpid(), "VmRSS") or peak_memory_bytes()


def peak_memory_bytes() -> int:
    """Peak resident memory of this process, plus that of each child that still runs.

    VmHWM counts from the start of this program; `ru_maxrss`, used where there is no /proc, may
    count the parent's memory from before `exec`.
    """
    own = _status_bytes(os.getpid(), "VmHWM")
    if own:
        return own + sum(_status_bytes(pid, "VmHWM") for pid in _descendants(os.getpid()))
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status_bytes(pid: int, field: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _descendants(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True, slots=True)
class Contention:
    """How much others used this machine while something was timed.

    Attributes:
        seconds: length of the interval.
        other_cores: CPU seconds of all other processes per second.
        steal_share: share of the time of these cores that the hypervisor took.
        preempted_share: share of timed calls in which the worker was put aside.
        pressure_percent: /proc/pressure/cpu `some avg10` before the start; `None` if unknown.
    """

    seconds: float
    other_cores: float
    steal_share: float
    preempted_share: float
    pressure_percent: float | None

    def __str__(self) -> str:
        return (
            f"other processes used {self.other_cores:.2f} cores, steal {self.steal_share:.1%}, "
            f"{self.preempted_share:.0%} of timed calls preempted"
        )


def is_busy(contention: Contention, threads: int, available: int) -> bool:
    """Whether others competed so much that a timing proves nothing.

    Others may use the cores that the timed threads leave free, and a quarter of one more; the
    hypervisor may take 2 %. Where others use a quarter of a core or more, a quarter of the calls
    may be preempted: long calls are preempted by the kernel's own threads on a quiet machine too.
    """
    free = max(available - threads, 0) + SPARE_CORES
    crowded = (
        contention.preempted_share > PREEMPTED_SHARE and contention.other_cores > NOTICEABLE_CORES
    )
    return contention.other_cores > free or contention.steal_share > STEAL_SHARE or crowded


def cpu_pressure() -> float | None:
    """Percent of the last 10 s in which some task waited for a CPU; `None` if unknown."""
    try:
        first = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    for word in first.split():
        if word.startswith("avg10="):
            return float(word.removeprefix("avg10="))
    return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """CPU counters at one moment, in seconds: of the whole machine, stolen, and of us."""

    at: float
    busy: float
    stolen: float
    ours: float
    pressure: float | None


class ContentionMeter:
    """Measures what others used between `start` and `stop`.

    Args:
        ours: process ids whose CPU time (with children) is not "others".
    """

    def __init__(self, ours: Iterable[int]) -> None:
        self._pids = {os.getpid(), *ours}
        self._begun = self._snapshot()

    def stop(self, calls: int, preempted_calls: int) -> Contention:
        """Ends the interval; the workers must still be alive."""
        end, begun = self._snapshot(), self._begun
        seconds = max(end.at - begun.at, 1e-9)
        others = (end.busy - begun.busy) - (end.ours - begun.ours)
        return Contention(
            seconds=seconds,
            other_cores=max(0.0, others / seconds),
            steal_share=max(0.0, (end.stolen - begun.stolen) / (seconds * cores())),
            preempted_share=preempted_calls / calls if calls else 0.0,
            pressure_percent=begun.pressure,
        )

    def _snapshot(self) -> Snapshot:
        busy, stolen = _machine_seconds()
        ours = sum(_process_seconds(pid) for pid in self._pids)
        return Snapshot(time.monotonic(), busy, stolen, ours, cpu_pressure())


def _machine_seconds() -> tuple[float, float]:
    """Busy and stolen CPU seconds of the cores that we may use, since the start of the machine."""
    path = Path("/proc/stat")
    if not path.exists():
        import psutil

        times = psutil.cpu_times()
        return times.user + times.system, 0.0
    tick = os.sysconf("SC_CLK_TCK")
    fields = [sum(column) / tick for column in zip(*_counters(path.read_text()), strict=False)]
    user, nice, system, _, _, interrupts, soft, stolen = fields[:8]
    return user + nice + system + interrupts + soft, stolen


def _counters(text: str) -> list[list[int]]:
    """The lines of /proc/stat of the cores that we may use; that of all where they are not told."""
    told = {}
    for line in text.splitlines():
        name, *words = line.split()
        if name.startswith("cpu"):
            told[name] = [int(word) for word in words]
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    names = [f"cpu{number}" for number in mine]
    return (
        [told[name] for name in names] if names and all(n in told for n in names) else [told["cpu"]]
    )


def _process_seconds(pid: int) -> float:
    """User and system seconds of a process and of its children; 0 when it is gone."""
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    children = sum(_alone_seconds(child) for child in _descendants(pid))
    waited = times.children_user + times.children_system if hasattr(times, "children_user") else 0.0
    own = times.user + times.system + waited
    # The parent's children are the workers, which are counted by their own ids.
    return own if pid == os.getpid() else own + children


def _alone_seconds(pid: int) -> float:
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def compiler() -> str:
    """Path of the C++ compiler that kernels are built with at run time; empty without one.

    In the order in which PyTorch's inductor looks.
    """
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((found for name in names if name and (found := shutil.which(name))), "")


def packages_with(module: str) -> tuple[str, ...]:
    """The installed packages that hold a module of this name; more than one overwrite each other."""
    found = metadata.packages_distributions().get(module, [])
    return tuple(sorted({name.lower() for name in found}))


def describe_blas() -> str:
    """The linear algebra library that NumPy was built with, and the kernels asked of it."""
    import numpy as np

    build = np.show_config(mode="dicts") or {}
    blas = build.get("Build Dependencies", {}).get("blas", {})
    forced = os.environ.get("OPENBLAS_CORETYPE", "")
    name = f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
    return f"{name}, kernels forced to {forced} by OPENBLAS_CORETYPE" if forced else name
