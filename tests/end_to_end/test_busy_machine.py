"""A machine on which others work all the time: no claim of speed, and the answer says why."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.domain.measurement import OVERALL
from jettison.domain.run import GAIN
from tests.end_to_end.conftest import Command, Given, looks, record_of

SPIN = "while True: pass"


@contextlib.contextmanager
def crowd() -> Iterator[None]:
    """A spinning process for each core: whatever runs, the others take all but its share."""
    count = len(os.sched_getaffinity(0))
    hogs = [subprocess.Popen([sys.executable, "-S", "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.slow
def test_a_busy_machine_gives_no_verdict(small: Given, jettison: Command, tmp_path: Path) -> None:
    """Every launch is disturbed: the claims are noisy, exit 4, and no sealed row is looked at."""
    with crowd():
        done = jettison(
            *("optimize", str(small.model), "--data", str(small.data), "--target", "label"),
            *("--minimise", "latency_ms", "--technique", "int8_dynamic", "--trials", "1"),
            *("--max-minutes", "0.2", "--ledger", "ledger"),
        )
    assert done.returncode == 4, done.stderr[-3000:]
    assert "too busy" in done.stdout
    assert "noisy" in done.stdout
    record = record_of(tmp_path / "jettison-run")
    assert record.outcome == "undecided"
    assert not record.shipped
    assert record.certificate.status == "uncertified"
    assert not looks(tmp_path / "ledger")
    timed = [claim for name, claim in record.claims.items() if name != "baseline"]
    assert timed
    for claim in timed:
        gain = claim.get("latency_ms" + GAIN, OVERALL)
        assert gain is not None
        assert gain.state == "noisy"
        assert any("disturbed by other work" in note for note in claim.notes)
    assert "busy" in (tmp_path / "jettison-run/report.html").read_text()
