"""A server's CPU and memory are those of all its processes, and none of them outlives the run."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.load.process_tree import ProcessTree

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}])
print(child.pid, flush=True)
{then}
"""
BUSY = "x = 0\nwhile True: x += 1"
IDLE = "import time; time.sleep(600)"


def started(tmp_path: Path, child: str, then: str) -> tuple[ProcessTree, int]:
    """A process with a child; gives the tree and the child's id."""
    log = tmp_path / "log"
    code = PARENT.format(child=child, then=then)
    tree = ProcessTree.start([sys.executable, "-c", code], log, {}, tmp_path)
    while not log.read_text().strip():
        time.sleep(0.02)
    return tree, int(log.read_text())


def test_the_cpu_of_children_counts(tmp_path: Path) -> None:
    """The parent sleeps, its child computes: the tree uses CPU."""
    tree, _ = started(tmp_path, BUSY, "time.sleep(600)")
    begun = tree.cpu_seconds()
    while tree.cpu_seconds() < begun + 0.1:
        time.sleep(0.05)
    memory = tree.memory()
    assert memory.processes == 2
    assert 0 < memory.pss_bytes <= memory.rss_bytes
    tree.end()


def test_the_cpu_of_ended_children_is_kept(tmp_path: Path) -> None:
    """What a child used before it ended stays in the sum."""
    tree, child = started(tmp_path, BUSY, "time.sleep(600)")
    while tree.cpu_seconds() < 0.1:
        time.sleep(0.05)
    before = tree.cpu_seconds()
    psutil.Process(child).kill()
    assert tree.cpu_seconds() >= before
    tree.end()


def test_orphans_are_told_and_ended(tmp_path: Path) -> None:
    """A server that leaves a child behind: its id is given, and it is gone afterwards."""
    tree, child = started(tmp_path, IDLE, "time.sleep(600)")
    assert child in tree.end()
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_a_paused_tree_uses_nothing_and_goes_on_later(tmp_path: Path) -> None:
    """A stopped process can't disturb another's turn."""
    tree, child = started(tmp_path, BUSY, "time.sleep(600)")
    tree.pause()
    while psutil.Process(child).status() != psutil.STATUS_STOPPED:
        time.sleep(0.02)
    used = tree.cpu_seconds()
    time.sleep(0.3)
    assert tree.cpu_seconds() == used
    tree.resume()
    while tree.cpu_seconds() < used + 0.05:
        time.sleep(0.02)
    tree.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="NO PROCESSES of POSIX here")
def test_a_process_that_has_ended_can_be_asked(tmp_path: Path) -> None:
    """Its CPU is what was last seen; ending it again does no harm."""
    tree = ProcessTree.start([sys.executable, "-c", "pass"], tmp_path / "log", {}, tmp_path)
    tree.process.wait()
    assert tree.cpu_seconds() >= 0.0
    assert tree.end() == ()
