"""Import and `--help` time, each as a ratio to `python -c pass`, in interleaved turns."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks.results_file import Row, write
from jettison.statistics.intervals import log_ratio_interval

TURNS = 25
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import jettison": [sys.executable, "-c", "import jettison"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "jettison --help": [sys.executable, "-m", "jettison", "--help"],
    "jettison list": [sys.executable, "-m", "jettison", "list"],
}


def once(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        once(command)
    for _ in range(TURNS):
        names = list(COMMANDS)
        order.shuffle(names)
        for name in names:
            seconds[name].append(once(COMMANDS[name]))
    base = np.array(seconds["python -c pass"])
    rows = []
    for name, values in seconds.items():
        interval = log_ratio_interval(np.log(np.array(values) / base))
        rows.append(
            Row(
                "-",
                name,
                "ratio to python -c pass",
                interval.value,
                interval.low,
                interval.high,
                "ratio",
                TURNS,
                note=f"median {statistics.median(values) * 1000:.0f} ms",
            )
        )
    write("startup", rows)
    for row in rows:
        print(f"{row.method:20s} {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]  {row.note}")


if __name__ == "__main__":
    main()
