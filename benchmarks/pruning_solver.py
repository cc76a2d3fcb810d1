"""The time and memory of the solver, beside a dense Hessian by blocks and magnitude + backsolve.

    python -m benchmarks.pruning_solver            # about a minute on one quiet core

Rows are random with a decaying spectrum, so that sizes can be chosen freely. The dense solver is
the straightforward one: the Hessian of each block of 1,000 weights is built and factored whole.
Memory is read from fresh processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.results_file import RESULTS, Row, write
from jettison.numerics.chita import (
    Effort,
    LargestOverall,
    Problem,
    block_path,
    blocks_of,
    keeps,
    solve,
)
from jettison.numerics.chita.solver import MAGNITUDE, magnitude_mask
from jettison.numerics.curvature import FisherRows

RIDGE = 1e-3
BLOCK = 1000
REPEATS = 3
WORKSPACE = 32
SEARCH = Effort(rounds=2, steps=20)
SIZES = (10_000, 20_000, 40_000, 80_000, 160_000)
ROWS = (50, 100, 200, 400)
SPARSITIES = (0.5, 0.7, 0.9, 0.98)

NOTES = [
    "Random rows with a decaying spectrum; one thread; the dense solver and ours agree. Peak "
    "memory before products were made in one buffer: 3.2 and 3.1 times the rows at p = 270,000.",
]


def problem(n: int, p: int, workspace: int = 256 * 2**20) -> Problem:
    """Rows whose directions decay, half precision, filled a few at a time."""
    order = torch.Generator().manual_seed(0)
    values = torch.empty((n, p), dtype=torch.float16)
    for row in range(n):
        values[row] = torch.randn(p, generator=order) / (1.0 + 0.02 * row)
    rows = FisherRows(values, torch.full((n,), 0.01), 16, workspace)
    start = torch.randn(p, generator=order) * 0.1
    return Problem(rows, start, RIDGE * n, torch.full((n,), 1.0 / 16))


def dense_blocks(made: Problem, mask: torch.Tensor) -> torch.Tensor:
    """Builds A_b^T A_b + ridge of each block, and solves for the kept weights of the block."""
    result = torch.zeros_like(made.start)
    for block in blocks_of([slice(0, len(made.start))], BLOCK):
        part = made.restricted(block)
        columns = part.rows.columns(torch.arange(part.rows.p)).double()
        hessian = columns.T @ columns
        hessian.diagonal().add_(part.ridge)
        kept = mask[block]
        right = hessian @ part.start.double() - columns.T @ part.offset.double()
        solved = torch.zeros(len(kept), dtype=torch.float64)
        solved[kept] = torch.linalg.solve(hessian[kept][:, kept], right[kept])
        result[block] = solved.float()
    return result


def our_blocks(made: Problem, mask: torch.Tensor) -> torch.Tensor:
    """The same weights by whichever of rows and columns is fewer."""
    whole = slice(0, len(made.start))
    blocks = blocks_of([whole], BLOCK)
    found = block_path([(whole, made)], made.start, mask, blocks, (RIDGE,))
    weights: torch.Tensor = found[0].weights
    return weights


def seconds(call: Callable[[], object]) -> tuple[float, float, float]:
    """Median, lowest and highest of a few calls."""
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken), min(taken), max(taken)


def at(n: int, p: int, sparsity: float) -> dict[str, tuple[float, float, float]]:
    """Seconds of each solver on the same rows."""
    made = problem(n, p)
    budget = LargestOverall(keeps((p,), sparsity)[0])
    mask = magnitude_mask(made, budget)
    apart = float((dense_blocks(made, mask) - our_blocks(made, mask)).abs().max())
    if apart > 1e-3:
        raise SystemExit(f"the two block solvers differ by {apart} at n={n}, p={p}")
    return {
        "dense Hessian by blocks of 1,000": seconds(lambda: dense_blocks(made, mask)),
        "our backsolve by blocks of 1,000": seconds(lambda: our_blocks(made, mask)),
        "magnitude + backsolve": seconds(lambda: solve(made, budget, MAGNITUDE)),
        "CHITA, active set and backsolve": seconds(lambda: solve(made, budget, SEARCH)),
    }


def sweep(title: str, points: list[tuple[int, int, float]], end: float) -> list[Row]:
    """Times at several sizes, and for growing p the fit of seconds = a * p^b."""
    rows: list[Row] = []
    medians: dict[str, list[float]] = {}
    done: list[int] = []
    for n, p, sparsity in points:
        if time.monotonic() > end:
            print(f"no time left for {title} from p={p:,} on", flush=True)
            break
        done.append(p)
        for method, (median, low, high) in at(n, p, sparsity).items():
            model = f"{title}: n={n:,}, p={p:,}, sparsity {sparsity:g}"
            note = f"median, lowest and highest of {REPEATS} calls"
            rows.append(Row(model, method, "time", median, low, high, "s", REPEATS, note))
            medians.setdefault(method, []).append(median)
            print(f"{model:60s} {method:36s} {median:8.3f} s", flush=True)
    if len(set(done)) > 2:
        rows += _fits(done, medians)
    return rows


def _fits(sizes: list[int], medians: dict[str, list[float]]) -> list[Row]:
    rows = []
    for method, times in medians.items():
        slope, start = np.polyfit(sizes, times, 1)
        left = np.array(times) - (slope * np.array(sizes) + start)
        explained = 1.0 - float(left @ left) / float(np.var(times) * len(times))
        power = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
        count = len(sizes)
        note = f"seconds = {start:.3g} + {slope:.3g} * p explains {explained:.1%} of the variance"
        rows.append(Row("Growth with p", method, "exponent", power, None, None, "", count, note))
    return rows


def memory() -> list[Row]:
    """Peak memory of a fresh process that solves, against the bytes of the rows."""
    rows = []
    for n, p, sparsity in ((400, 270_000, 0.5), (400, 270_000, 0.9), (200, 800_000, 0.9)):
        peaks = {}
        for what in ("nothing", "chita"):
            words = [sys.executable, "-m", "benchmarks.pruning_solver", "--measure", what]
            words += [str(n), str(p), str(sparsity)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            peaks[what] = json.loads(done.stdout)
        stored = 2 * n * p
        ratio = (peaks["chita"] - peaks["nothing"]) / (stored + 4 * p)
        model = f"Peak memory: n={n:,}, p={p:,}, sparsity {sparsity:g}"
        note = (
            f"{peaks['chita'] - peaks['nothing']:,} bytes above a process that only imports; rows "
            f"are {stored:,} bytes (n * p * 2), weights {4 * p:,}, workspace {stored // WORKSPACE:,}"
        )
        title = "CHITA, active set and backsolve"
        rows.append(Row(model, title, "memory_ratio", ratio, None, None, "ratio", 1, note))
        print(model, f"{ratio:.3f}", flush=True)
    return rows


def measure(what: str, n: int, p: int, sparsity: float) -> None:
    """Prints the peak memory of this process in bytes."""
    torch.set_num_threads(1)
    if what == "chita":
        # The share of the rows' bytes that a product may take beside them.
        made = problem(n, p, workspace=2 * n * p // WORKSPACE)
        solve(made, LargestOverall(keeps((p,), sparsity)[0]), Effort(rounds=1, steps=3))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=4, metavar=("WHAT", "N", "P", "SPARSITY"))
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--memory", action="store_true", help="only memory; keeps stored times")
    given = parser.parse_args()
    end = time.monotonic() + given.seconds
    if given.measure:
        what, n, p, sparsity = given.measure
        measure(what, int(n), int(p), float(sparsity))
        return
    torch.set_num_threads(1)
    rows = memory()
    if given.memory:
        stored = json.loads((RESULTS / "pruning-solver.json").read_text())["rows"]
        rows += [Row(**row) for row in stored if row["metric"] != "memory_ratio"]
        write("pruning-solver", rows, NOTES)
        return
    rows += sweep("Growing p", [(100, p, 0.9) for p in SIZES], end)
    rows += sweep("Growing n", [(n, 40_000, 0.9) for n in ROWS], end)
    rows += sweep("Growing sparsity", [(100, 40_000, s) for s in SPARSITIES], end)
    write("pruning-solver", rows, NOTES)


if __name__ == "__main__":
    main()
