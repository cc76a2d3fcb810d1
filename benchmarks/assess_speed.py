"""Time and memory of assessing predictions by group: rows in memory to a finished assessment.

Budget, fixed beforehand: 1 million rows with 50 groups in under 10 s on 2 cores, and memory that
grows linearly with rows. Numbering the groups and the checks of the data are part of the time.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.results_file import Row, write
from jettison.assessment.answers import ModelAnswers
from jettison.assessment.assessing import Told, assess
from jettison.assessment.data_checks import questions_about
from jettison.assessment.figures import Wishes
from jettison.assessment.people import People, group_columns

SIZES = (250_000, 1_000_000, 2_000_000)
REPEATS = 3
GROUPS = 50
CASES = ("binary", "multi-class", "regression")
CLASSES = 10
MEASURED = (("assess_s", "s"), ("assess_cpu_s", "s"), ("memory_bytes", "bytes"))


def once(case: str, n: int) -> tuple[float, float, float]:
    """Seconds by the clock and of the processor, and the growth of the peak memory in bytes beyond the inputs."""
    r = np.random.default_rng(0)
    group = np.array([f"g{i:02d}" for i in range(GROUPS)])[r.integers(0, GROUPS, n)]
    k = CLASSES if case == "multi-class" else 2
    targets = r.integers(0, k, n)
    scores = r.dirichlet(np.ones(k), n)
    decisions = scores.argmax(axis=1)
    inputs = {"x": r.normal(size=n), "y": r.normal(size=n)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, used = time.perf_counter(), time.process_time()
    columns = group_columns({"group": group}, (), "the rows")
    if case == "regression":
        people = People("regression", n, columns, targets.astype(float))
        answers = ModelAnswers("predictions", values=scores[:, 0])
    else:
        names = tuple(str(i) for i in range(k))
        people = People(case, n, columns, targets, names)  # type: ignore[arg-type]
        answers = ModelAnswers("predictions", decisions, scores)
    questions = questions_about(people, inputs, {}, answers)
    assess(people, (answers,), Wishes(), Told("speed", "made up", (), questions))
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, cpu, (after - before) * 1024.0


def main() -> None:
    if len(sys.argv) == 3:
        print(*once(sys.argv[1], int(sys.argv[2])))
        return
    rows: list[Row] = []
    for case in CASES:
        for n in SIZES:
            told = []
            for _ in range(REPEATS):
                # A process of its own: the peak of memory never falls again.
                command = [sys.executable, "-m", "benchmarks.assess_speed", case, str(n)]
                answer = subprocess.run(command, capture_output=True, text=True, check=True)
                told.append([float(part) for part in answer.stdout.split()])
            for place, (metric, unit) in enumerate(MEASURED):
                values = sorted(one[place] for one in told)
                name = f"{case}, {n:,} rows, {GROUPS} groups"
                middle = values[len(values) // 2]
                rows.append(
                    Row(name, "assess", metric, middle, values[0], values[-1], unit, REPEATS)
                )
                print(rows[-1])
    write(
        "assess_speed",
        rows,
        [
            "Each run is a fresh process; low and high are the fastest and slowest of the runs.",
            "memory_bytes is the growth of the peak resident memory beyond the inputs.",
            "The machine was shared with other work that at times stopped this process, so assess_s is "
            "an upper bound; assess_cpu_s is the processor time of all threads.",
        ],
    )


if __name__ == "__main__":
    main()
