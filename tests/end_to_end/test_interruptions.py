"""Runs that end before they should, or meet each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jettison.trust.audit import AUDIT, last_run, read_trail
from tests.end_to_end.conftest import Command, Given, looks, options, prepared, record_of

pytestmark = pytest.mark.slow


def test_kill_loses_at_most_the_running_trial(
    small: Given, jettison: Command, tmp_path: Path
) -> None:
    """After kill -9 in the search the same command goes on; finished trials are not repeated.

    What was tried before the kill stands in the audit trail already, and the chain goes on from it.
    """
    words = options(small, tmp_path / "ledger", "--trials", "4", "--no-certify")
    process = subprocess.Popen(
        [sys.executable, "-m", "jettison", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    trials = tmp_path / "jettison-run/work/search/trials"
    deadline = time.monotonic() + 400
    trail = tmp_path / "jettison-run" / AUDIT
    while (
        not trail.exists() or trail.read_text().count('"kind":"trial"') < 2
    ) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    kept = {path.name: path.read_bytes() for path in trials.glob("*.json")}
    assert len(kept) >= 2
    before = read_trail(trail)
    done = jettison(*words)
    assert done.returncode == 4, done.stderr[-3000:]
    for name, content in kept.items():
        assert (trials / name).read_bytes() == content
    recipes = [str(t.recipe) for t in record_of(tmp_path / "jettison-run").trials]
    assert len(recipes) == 4
    assert len(set(recipes)) == 4
    events = read_trail(trail)
    assert events[: len(before)] == before
    told = [e.facts["stored"] for e in last_run(events) if e.kind == "trial"]
    assert told == [True] * len(kept) + [False] * (4 - len(kept))
    assert [e.kind for e in before].count("trial") in (len(kept), len(kept) - 1)


KILLED = """
import os, signal
from jettison import whole_run
from jettison.cli import main

whole_run._write = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


def test_killed_before_its_bundle_the_same_command_finishes_it(
    digits: Given, jettison: Command, tmp_path: Path
) -> None:
    """The certificate is taken up: no second look, and a bundle that verify accepts."""
    words = options(digits, tmp_path / "ledger", "--trials", "2", "--technique", "int8_static")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words], cwd=tmp_path, capture_output=True, timeout=800
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    run = tmp_path / "jettison-run"
    assert (run / "work/certify/certificate.json").exists()
    assert not (run / "release").exists()
    assert looks(tmp_path / "ledger") == 1
    done = jettison(*words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert record_of(run).certificate.status == "certified"
    assert "is taken up" in (run / "run.log").read_text()
    assert looks(tmp_path / "ledger") == 1
    told = [e.kind for e in last_run(read_trail(run / AUDIT))]
    assert told.count("looked") == 1
    checked = jettison("verify", str(run / "release"), "--ledger", str(tmp_path / "ledger"))
    assert checked.returncode == 0, checked.stderr


def test_interrupt_ends_tidily_and_keeps_the_seal(small: Given, tmp_path: Path) -> None:
    """Ctrl-C in the search gives exit 4 and a report; the ledger has no look."""
    words = options(small, tmp_path / "ledger", "--trials", "40")
    # A background job of a script starts with SIGINT ignored, and its children inherit that.
    process = subprocess.Popen(
        prepared("signal.signal(signal.SIGINT, signal.SIG_DFL)", words),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    trials = tmp_path / "jettison-run/work/search/trials"
    deadline = time.monotonic() + 400
    while not list(trials.glob("*.json")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 4, output[-3000:]
    record = record_of(tmp_path / "jettison-run")
    assert record.outcome == "interrupted"
    assert record.certificate.ledger is None
    assert not (tmp_path / "jettison-run/release").exists()
    assert not looks(tmp_path / "ledger")


def test_two_runs_in_one_folder_are_refused(
    small: Given, jettison: Command, tmp_path: Path
) -> None:
    """The second run ends at once with exit 2 and says what holds the folder."""
    words = options(small, tmp_path / "ledger", "--trials", "3", "--no-certify")
    first = subprocess.Popen(
        [sys.executable, "-m", "jettison", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 100
        while not (tmp_path / "jettison-run/run.log").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        second = jettison(*words)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert "another jettison run is using" in second.stderr


def test_a_folder_with_another_search_is_refused(
    small: Given, jettison: Command, tmp_path: Path
) -> None:
    """Trials of another serving profile don't apply; the message says what differs."""
    words = options(small, tmp_path / "ledger", "--trials", "1", "--no-certify")
    assert jettison(*words).returncode in (3, 4)
    other = jettison(*words, "--batch-size", "1", "--batch-size", "4")
    assert other.returncode == 2, other.stderr[-2000:]
    assert "another serving profile" in other.stderr
