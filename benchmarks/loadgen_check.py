"""MLPerf LoadGen's Server scenario beside our open loop: do two generators see one server alike?

    python -m benchmarks.loadgen_check

Needs the package mlcommons-loadgen. Both offer the same rate to the same server in the order
A B B A; LoadGen, too, counts from the scheduled instant.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.load import tensors
from benchmarks.load.connection import Address
from benchmarks.load.loops import Target, closed_loop, open_loop, run
from benchmarks.load.mlperf import Offer, Verdict, server_scenario
from benchmarks.load.recording import Load, percentile
from benchmarks.results_file import Row, write
from benchmarks.served import models
from benchmarks.served.servers import Recipe, free_port, start

WORK = Path(".bench/loadgen").absolute()
NAME = "check"
TITLE = "One server, two generators"
NETWORK = models.Network(hidden=(1024, 1024), again=12)
LOAD_SHARE = 0.3
SECONDS = 25.0
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
BOUND_FACTOR = 20.0
"""The latency bound of the verdict, in single-row times: generous, so that both should say valid."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares our generator with MLPerf LoadGen.")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    if importlib.util.find_spec("mlperf_loadgen") is None:
        raise SystemExit("pip install mlcommons-loadgen")
    shutil.rmtree(WORK, ignore_errors=True)
    model = models.network_model(WORK / "model", NETWORK)
    bundle = models.bundle_of(model, WORK / "bundle", (1, 8))
    server = start(_recipe(bundle), WORK)
    try:
        rows = compare(server.address, options.seconds)
    finally:
        server.tree.end()
    for row in rows:
        print(f"{row.method:12s} {row.metric:30s} {row.value} [{row.low}, {row.high}] {row.note}")
    if not options.no_write:
        write("loadgen_check", rows, (__doc__.splitlines()[0] if __doc__ else "",))


def _recipe(bundle: Path) -> Recipe:
    port = free_port()
    command = [
        *(sys.executable, "-m", "jettison", "serve", f"{NAME}={bundle}"),
        *("--port", str(port), "--grpc-port", str(free_port())),
        *("--max-batch-rows", "8", "--allow-uncertified"),
    ]
    return Recipe("jettison", command, {}, Path.cwd(), port, _request())


def _request() -> bytes:
    [row] = models.network_inputs(1)
    return tensors.binary_request(tensors.infer_path(NAME), row)


@dataclass(frozen=True, slots=True)
class Turns:
    """What both generators saw of one server at one rate."""

    rate: float
    bound_ms: float
    ours: list[Load]
    theirs: list[Verdict]


def compare(address: Address, seconds: float) -> list[Row]:
    """Offers the same rate with both generators, A B B A."""
    target = Target(address, (_request(),))
    single = run(closed_loop(target, 1, 3.0))
    rate = LOAD_SHARE * run(closed_loop(target, 16, 5.0)).per_second
    turns = Turns(rate, BOUND_FACTOR * 1e3 * float(np.median(single.latency)), [], [])
    for number, who in enumerate(("ours", "LoadGen", "LoadGen", "ours")):
        if who == "ours":
            turns.ours.append(run(open_loop(target, rate, seconds, seed=number)))
            continue
        offer = Offer(rate, seconds, turns.bound_ms, number)
        turns.theirs.append(server_scenario(address, _request(), offer, WORK / f"log-{number}"))
    return [*_percentiles(turns), _verdict(turns)]


def _percentiles(turns: Turns) -> list[Row]:
    latency = np.concatenate([load.latency for load in turns.ours]) * 1e3
    flags = _flags(turns)
    rows = []
    for label, share in SHARES.items():
        found = [verdict.percentiles_ms[share] for verdict in turns.theirs]
        theirs, ends = float(np.mean(found)), (min(found), max(found))
        metric = f"{label} at {turns.rate:.0f}/s"
        note = "mean of its runs; the ends are the runs"
        rows.append(Row(TITLE, "LoadGen", metric, theirs, *ends, "ms", len(found), note))
        ours = percentile(latency, share)
        if ours is None or flags:
            rows.append(Row(TITLE, "ours", metric, None, None, None, "ms", latency.size, flags))
            continue
        both = (ours.value / theirs, ours.low / ends[1], ours.high / ends[0])
        rows += [
            Row(TITLE, "ours", metric, ours.value, ours.low, ours.high, "ms", ours.n),
            Row(TITLE, "ours / LoadGen", label, *both, "ratio", ours.n),
        ]
    return rows


def _flags(turns: Turns) -> str:
    return "; ".join(sorted({flag for load in turns.ours for flag in load.flags()}))


def _verdict(turns: Turns) -> Row:
    """Both judge p99 against the same bound."""
    latency = np.concatenate([load.latency for load in turns.ours]) * 1e3
    ours = "VALID" if float(np.quantile(latency, 0.99)) <= turns.bound_ms else "INVALID"
    theirs = [verdict.verdict for verdict in turns.theirs]
    value = "void" if _flags(turns) else "agree" if set(theirs) == {ours} else "differ"
    note = f"ours {ours}, LoadGen {', '.join(theirs)}; bound {turns.bound_ms:.0f} ms at p99"
    return Row(TITLE, "both", "verdict", value, None, None, "", len(theirs) + 1, note)


if __name__ == "__main__":
    main()
