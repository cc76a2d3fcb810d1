"""A soak: minutes at twice the capacity. Memory, refusals, deadlines, and each answer its own.

python -m benchmarks.soak                 10 minutes
python -m benchmarks.soak --minutes 1 --no-write
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.load import tensors
from benchmarks.load.loops import Target, closed_loop, open_loop, run
from benchmarks.load.metrics_page import by_label, scrape
from benchmarks.load.process_tree import ProcessTree
from benchmarks.load.recording import Load, percentile
from benchmarks.results_file import Row, write
from benchmarks.served import models
from benchmarks.served.identity import Identity, base_row, numbered_requests
from benchmarks.served.servers import Recipe, Server, free_port, start

WORK = Path(".bench/soak").absolute()
NAME = "soak"
TITLE = "Soak: network of 18 layers, 2,048 wide"
NETWORK = models.Network(hidden=(2048, 2048), again=15, echo=True)
CAP = 8
DEADLINE_SECONDS = 1.0
CAPACITY_SECONDS = 8.0
OVERLOAD = 2.0
POLL_SECONDS = 2.0
SETTLE_SHARE = 0.2
"""The first part of the run, in which memory may still grow."""


def main() -> None:
    options = _options()
    shutil.rmtree(WORK, ignore_errors=True)
    model = models.network_model(WORK / "model", NETWORK)
    bundle = models.bundle_of(model, WORK / "bundle", (1, CAP))
    server = start(_recipe(bundle), WORK)
    try:
        rows = soak(server, model.artifact.path, 60.0 * options.minutes)
    finally:
        left = server.tree.end()
    rows.append(_count("processes left after SIGTERM", len(left), 1))
    for row in rows:
        print(f"{row.metric:50s} {row.value} {row.unit} {row.note}")
    if not options.no_write:
        write("soak", rows, (NOTE,))


NOTE = (
    f"Open loop (Poisson) at {OVERLOAD:g} times the measured capacity, single rows, batches of at "
    f"most {CAP}, deadline {DEADLINE_SECONDS:g} s. Each request carries its number, and the model "
    "echoes it through a matrix product; latency counts from the scheduled instant."
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs a server at twice its capacity.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--no-write", action="store_true")
    return parser.parse_args()


def _recipe(bundle: Path) -> Recipe:
    port = free_port()
    command = [
        *(sys.executable, "-m", "jettison", "serve", f"{NAME}={bundle}"),
        *("--port", str(port), "--grpc-port", str(free_port())),
        *("--max-batch-rows", str(CAP), "--deadline-seconds", str(DEADLINE_SECONDS)),
        "--allow-uncertified",
    ]
    first = tensors.binary_request(tensors.infer_path(NAME), {"x": base_row()})
    return Recipe("jettison", command, {}, Path.cwd(), port, first)


class MemoryWatch:
    """Polls the resident memory of a tree in a thread."""

    def __init__(self, tree: ProcessTree) -> None:
        self.points: list[tuple[float, int]] = []
        self._tree = tree
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self.points.append((time.perf_counter(), self._tree.rss_bytes()))

    def end(self) -> None:
        """Stops polling."""
        self._ended.set()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a soak saw."""

    capacity: float
    load: Load
    identity: Identity
    points: list[tuple[float, int]]
    counted: dict[str, float]


def soak(server: Server, onnx: Path, seconds: float) -> list[Row]:
    """Measures the capacity, then offers twice as much."""
    import onnxruntime

    path = tensors.infer_path(NAME)
    plain = tensors.binary_request(path, {"x": base_row()})
    capacity = run(
        closed_loop(Target(server.address, (plain,)), 4 * CAP, CAPACITY_SECONDS)
    ).per_second
    print(f"capacity {capacity:.0f}/s", flush=True)
    before = by_label(scrape(server.address), "jettison_requests_total", "code")
    identity = Identity()
    watch = MemoryWatch(server.tree)
    target = Target(server.address, numbered_requests(path), identity.look)
    load = run(open_loop(target, OVERLOAD * capacity, seconds))
    watch.end()
    after = by_label(scrape(server.address), "jettison_requests_total", "code")
    counted = {code: after[code] - before.get(code, 0.0) for code in after}
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    differing = identity.differing(session)
    outcome = Outcome(capacity, load, identity, watch.points, counted)
    return [*_rates(outcome), *_answers(outcome, differing), *_memory(outcome)]


def _rates(outcome: Outcome) -> list[Row]:
    load = outcome.load
    n = load.status.size
    counts = load.counts()
    rows = [
        Row(TITLE, "jettison", "capacity, closed loop", outcome.capacity, None, None, "1/s", n),
        Row(TITLE, "jettison", "offered", n / load.seconds, None, None, "1/s", n),
        Row(TITLE, "jettison", "answered with 200", load.per_second, None, None, "1/s", n),
    ]
    rows += [
        Row(
            TITLE,
            "jettison",
            f"answered with {status or 'nothing'}",
            count / n,
            None,
            None,
            "fraction",
            n,
        )
        for status, count in sorted(counts.items())
        if status != 200
    ]
    flags = load.flags()
    latency = load.latency * 1e3
    for label, share in {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}.items():
        found = percentile(latency, share)
        metric = f"{label} of accepted requests"
        if found is None or flags:
            rows.append(
                Row(
                    TITLE,
                    "jettison",
                    metric,
                    None,
                    None,
                    None,
                    "ms",
                    latency.size,
                    "; ".join(flags),
                )
            )
        else:
            rows.append(
                Row(
                    TITLE,
                    "jettison",
                    metric,
                    found.value,
                    found.low,
                    found.high,
                    "ms",
                    found.n,
                    f"deadline {DEADLINE_SECONDS * 1e3:.0f} ms",
                )
            )
    late = int((latency > DEADLINE_SECONDS * 1e3).sum())
    rows.append(
        _count(
            "accepted requests answered after their deadline, client's clock", late, latency.size
        )
    )
    return rows


def _answers(outcome: Outcome, differing: int) -> list[Row]:
    identity, load = outcome.identity, outcome.load
    accepted = identity.statuses[200]
    ours = {str(status): float(count) for status, count in identity.statuses.items()}
    codes = sorted(ours.keys() | outcome.counted.keys())
    apart = sum(abs(ours.get(code, 0.0) - outcome.counted.get(code, 0.0)) for code in codes)
    return [
        _count("answers that belong to another request", identity.wrong, accepted),
        _count("answers that differ from the row alone", differing, len(identity.kept)),
        _count(
            "requests answered more than once",
            identity.several_times + load.unasked,
            load.status.size,
        ),
        _count("requests never answered", load.unanswered, load.status.size),
        _count("429 without Retry-After", identity.without_retry, identity.statuses[429]),
        _count(
            "requests that the server counted and the client did not, or the reverse",
            int(apart),
            load.status.size,
        ),
    ]


def _memory(outcome: Outcome) -> list[Row]:
    points = np.array(outcome.points, dtype=np.float64)
    if len(points) < 10:
        return [
            Row(
                TITLE,
                "jettison",
                "growth of memory",
                None,
                None,
                None,
                "MiB/min",
                len(points),
                "too short to say",
            )
        ]
    minutes = (points[:, 0] - points[0, 0]) / 60.0
    mebibytes = points[:, 1] / 2**20
    settled = minutes >= SETTLE_SHARE * minutes[-1]
    slope = stats.theilslopes(mebibytes[settled], minutes[settled])
    n = int(settled.sum())
    return [
        Row(
            TITLE,
            "jettison",
            "growth of memory after the first fifth",
            float(slope[0]),
            float(slope[2]),
            float(slope[3]),
            "MiB/min",
            n,
            "Theil-Sen",
        ),
        Row(
            TITLE,
            "jettison",
            "peak memory (sum of RSS)",
            float(mebibytes.max()),
            None,
            None,
            "MiB",
            len(points),
            f"{mebibytes[0]:.0f} MiB at the start",
        ),
    ]


def _count(metric: str, value: int, n: int) -> Row:
    return Row(TITLE, "jettison", metric, float(value), None, None, "", n)


if __name__ == "__main__":
    main()
