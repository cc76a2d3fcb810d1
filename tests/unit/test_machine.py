"""The machine: its description, and whether others compete for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jettison import machine
from jettison.domain.record import from_json, to_json
from jettison.machine import Contention, ContentionMeter, is_busy


def test_the_device_describes_this_machine() -> None:
    """The record names CPU, memory and the packages that touch the numbers."""
    device = machine.describe_device()
    assert 1 <= device.cores <= (os.cpu_count() or 1)
    assert device.memory_bytes > 2**28
    assert {"python", "numpy", "onnx"} <= set(device.versions)
    assert device.cpu_class.startswith(device.architecture)
    assert from_json(type(device), to_json(device)) == device


def contention(other: float = 0.0, steal: float = 0.0, preempted: float = 0.0) -> Contention:
    return Contention(1.0, other, steal, preempted, None)


@pytest.mark.parametrize(
    ("seen", "threads", "cores", "busy"),
    [
        (contention(), 1, 2, False),
        (contention(other=1.0), 1, 2, False),
        (contention(other=1.5), 1, 2, True),
        (contention(other=0.5), 2, 2, True),
        (contention(other=0.2), 2, 2, False),
        (contention(steal=0.05), 1, 2, True),
        (contention(other=0.5, preempted=0.9), 1, 2, True),
        (contention(preempted=0.9), 1, 2, False),
    ],
)
def test_others_may_use_what_is_free(
    seen: Contention, threads: int, cores: int, busy: bool
) -> None:
    """A timing is disturbed when others need the cores of the timed threads."""
    assert is_busy(seen, threads, cores) is busy


def test_the_work_of_a_counted_process_is_not_that_of_others() -> None:
    """CPU time of a worker that is ours does not count as competition."""
    code = "x = 0\nfor i in range(40_000_000): x += i\nprint(x, flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        counted, ignored = ContentionMeter([child.pid]), ContentionMeter([])
        assert child.stdout is not None
        child.stdout.readline()
        ours, others = counted.stop(10, 1), ignored.stop(10, 1)
        child.communicate(b"\n")
    assert ours.other_cores < others.other_cores
    assert ours.preempted_share == pytest.approx(0.1)


def test_peak_memory_is_at_least_what_is_used_now() -> None:
    """Resident memory never exceeds its peak."""
    assert 0 < machine.memory_bytes() <= machine.peak_memory_bytes()


def test_caches_grow_with_their_distance() -> None:
    """Where the system tells them, each level holds at least as much as the one before."""
    sizes = list(machine.caches().values())
    assert sizes == sorted(sizes)
    assert all(size >= 2**13 for size in sizes)


def test_the_compiler_that_the_user_names_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """$CXX, then g++ and clang++; empty where there is none."""
    own = tmp_path / "mycxx"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("CXX", str(own))
    assert machine.compiler() == str(own)
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.compiler() == ""


def test_packages_that_hold_one_module_are_named() -> None:
    """One package holds NumPy; nothing holds a module that is not there."""
    assert machine.packages_with("numpy") == ("numpy",)
    assert machine.packages_with("no_such_module") == ()


def test_only_cores_that_we_may_use_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shared host with many cores, the work on the others disturbs nothing here."""
    text = "cpu  900 0 90 0 0 0 0 0\ncpu0 1 0 2 0 0 0 0 0\ncpu1 3 0 4 0 0 0 0 0\ncpu2 896 0 84 0 0 0 0 0\nintr 5\n"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert machine._counters(text) == [[1, 0, 2, 0, 0, 0, 0, 0], [3, 0, 4, 0, 0, 0, 0, 0]]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 9})
    assert machine._counters(text) == [[900, 0, 90, 0, 0, 0, 0, 0]]
