"""Our load generator beside MLPerf LoadGen, on the same server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("httptools", reason="NO HTTPTOOLS: pip install 'jettison[serve]'")
pytest.importorskip("mlperf_loadgen", reason="NO LOADGEN: pip install mlcommons-loadgen")

from benchmarks.load.connection import Address, post
from benchmarks.load.loops import Target, open_loop, run
from benchmarks.load.mlperf import Offer, server_scenario
from benchmarks.load.plain_server import running

RATE = 200.0
SECONDS = 4.0
STALL_SECONDS = 0.5
REQUEST = post("/", b"hello", {})


def verdicts(address: Address, bound_ms: float, logs: Path) -> tuple[str, str]:
    """Whether p99 stays within a bound: by our generator, and by LoadGen."""
    load = run(open_loop(Target(address, (REQUEST,)), RATE, SECONDS))
    p99_ms = 1e3 * float(np.quantile(load.latency, 0.99))
    theirs = server_scenario(address, REQUEST, Offer(RATE, SECONDS, bound_ms, 1), logs)
    return "VALID" if p99_ms <= bound_ms else "INVALID", theirs.verdict


def test_both_see_a_stall(tmp_path: Path) -> None:
    """A third of the time stands still: neither calls half the stall a bound that p99 keeps."""
    with running("--stall-every", "1.0", "--stall", str(STALL_SECONDS)) as address:
        found = verdicts(address, 500.0 * STALL_SECONDS, tmp_path)
    assert found == ("INVALID", "INVALID")


def test_both_see_a_server_that_keeps_its_bound(tmp_path: Path) -> None:
    """A server that does nothing is within a generous bound for both."""
    with running() as address:
        found = verdicts(address, 2000.0, tmp_path)
    assert found == ("VALID", "VALID")
