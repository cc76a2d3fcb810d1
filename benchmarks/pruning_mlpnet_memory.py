"""How much memory a run on MLPNet takes: peak of a fresh process above its base, beside n * p * 2.

    python -m benchmarks.pruning_mlpnet_memory

The base is the process once PyTorch, the images and the network are loaded and one run of `dense`
(BatchNorm, losses) is done; the system's mark of the peak is set back there. Each method runs once
at 90 % with one thread, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.pruning.cases import mlpnet_case
from benchmarks.pruning.runs import Options, run
from benchmarks.results_file import Row, write
from jettison.machine import memory_bytes, peak_memory_bytes

SPARSITY = 0.9
WEIGHTS = 32_360
SMALL = 16 * 2**20
METHODS = {
    "magnitude": ("magnitude", Options()),
    "magnitude + backsolve": ("chita", Options()),
    "OBS": ("obs", Options(ridges=(1e-3,))),
    "CHITA, one stage": ("chita", Options(first_order=1.0, search=2)),
    "CHITA, one stage, workspace of 16 MiB": (
        "chita",
        Options(first_order=1.0, search=2, workspace=SMALL),
    ),
    "CHITA, 4 stages, workspace of 16 MiB": (
        "chita",
        Options(stages=4, first_order=1.0, workspace=SMALL),
    ),
    "CHITA, one stage, 4,000 rows, workspace of 16 MiB": (
        "chita",
        Options(rows=4000, samples=4, first_order=1.0, search=2, workspace=SMALL),
    ),
}
NOTES = (
    "MLPNet at 90 %, one run each with one thread; memory is exact enough not to depend on others. "
    "The base is the process with PyTorch, images and network loaded and one run without pruning "
    "done. The workspace is the most that one product may take beside the rows; 256 MiB unless told.",
)


def measure(name: str, data: Path) -> tuple[int, int, float]:
    """Base and peak bytes of this process, and the accuracy, for one method."""
    torch.set_num_threads(1)
    case = mlpnet_case(data, "cpu")
    run(case, "dense", SPARSITY, 0, Options(rows=8))
    # Writing 5 sets the peak back to what is resident now (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    base = memory_bytes()
    method, options = METHODS[name]
    outcome = run(case, method, SPARSITY, 0, options)
    return base, peak_memory_bytes(), outcome.accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", choices=tuple(METHODS))
    data = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.data)))
        return
    rows = []
    for name, (method, options) in METHODS.items():
        words = [sys.executable, "-m", "benchmarks.pruning_mlpnet_memory", "--measure", name]
        words += ["--data", str(given.data)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        base, peak, accuracy = json.loads(done.stdout)
        stored = 0 if method == "magnitude" else 2 * options.rows * WEIGHTS
        note = f"rows are {stored / 1e6:.1f} MB (n * p * 2); base {base / 1e6:.0f} MB; {accuracy:.2f} %"
        above = (peak - base) / 1e6
        print(name, f"{above:.1f} MB", note, flush=True)
        rows.append(
            Row("MLPNet, 90 %", name, "memory", above, None, None, "MB above the base", 1, note)
        )
        if stored:
            ratio = above / (stored / 1e6 + 4 * WEIGHTS / 1e6)
            unit = "of the bytes of rows and weights"
            rows.append(Row("MLPNet, 90 %", name, "memory_ratio", ratio, None, None, unit, 1))
    write("pruning-mlpnet-memory", rows, NOTES)


if __name__ == "__main__":
    main()
