"""Measures the watch on quality: false alarms, delays, drift. The long form of tests/statistics.

    python -m benchmarks.quality_watch            # about 10 minutes on one core

Writes benchmarks/results/quality_watch.json. Everything is simulated with fixed seeds, so load on
the machine changes only how long it takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.results_file import Row, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "statistics"))

import watching  # noqa: E402

from jettison.statistics import clopper_pearson_interval  # noqa: E402

RUNS = 1000
LIFE = 20_000
MARGINS = (0.01, 0.03)
CHURN = f"the models differ on {watching.CHURN:.0%} of rows besides the drop"


def share(model: str, method: str, metric: str, value: float, n: int, note: str = "") -> Row:
    found = clopper_pearson_interval(round(value * n), n)
    return Row(model, method, metric, value, found.low, found.high, "fraction", n, note)


def false_alarms() -> Iterable[Row]:
    """Chance of any alarm in the life of a deployment whose drop is at most the margin."""
    for seed, margin in enumerate(MARGINS):
        for name, drop, swing in (
            ("exactly the margin", margin, False),
            ("half the margin", margin / 2, False),
            ("swings up to the margin", margin, True),
        ):
            rate = watching.ever_broken(
                RUNS, LIFE, drop=drop, margin=margin, seed=10 + seed, swing=swing
            )
            model = f"margin {margin:g}, drop: {name}, {LIFE:,} outcomes, a look after each"
            yield share(model, "betting, alpha 0.05", "false_alarm", rate, RUNS, CHURN)
        rate = watching.ever_broken(
            RUNS, LIFE, drop=margin, margin=margin, seed=20 + seed, naive=True
        )
        model = f"margin {margin:g}, drop: exactly the margin, {LIFE:,} outcomes, a look after each"
        note = "the wrong way: a test that is valid for one look only"
        yield share(model, "z-test at every look, alpha 0.05", "false_alarm", rate, RUNS, note)


def delays() -> Iterable[Row]:
    """Outcomes until the alarm, for a drop from the start and for one that begins late."""
    runs, n = 200, 40_000
    for margin in MARGINS:
        for start in (0, 20_000):
            for factor in (1.5, 2.0, 3.0):
                found = watching.first_alarms(
                    runs, n, drop=factor * margin, margin=margin, seed=30, look=20, start=start
                )
                seen = float(np.mean(found < n))
                low, middle, high = (float(np.quantile(found, q)) for q in (0.1, 0.5, 0.9))
                begun = f" after {start:,} good outcomes" if start else " from the start"
                note = f"10 % and 90 % of the runs in brackets; found in {seen:.1%}; {CHURN}"
                yield Row(
                    f"margin {margin:g}, drop of {factor:g} margins{begun}",
                    "betting, alpha 0.05",
                    "delay",
                    middle,
                    low,
                    high,
                    "outcomes",
                    runs,
                    note,
                )


def drift() -> Iterable[Row]:
    """Chance that any of 64 features is called drifted in one window, and that a shift is."""
    windows = 300
    for reference in (50, 200, 512):
        for live in (200, 2000):
            rate = watching.drift_alarms(windows, reference, live=live, features=64, seed=40)
            model = f"{reference} rows in the sketch, {live:,} in the window"
            yield share(model, "PSI, 64 features, no drift", "false_alarm", rate, windows)
            for shift in (0.25, 0.5, 1.0):
                rate = watching.drift_alarms(
                    windows, reference, live=live, features=1, seed=41, shift=shift
                )
                method = f"PSI, 1 feature, shift of {shift:g} deviations"
                yield share(model, method, "found", rate, windows)


def main() -> None:
    begun = time.monotonic()
    rows: list[Row] = []
    for section in (false_alarms, delays, drift):
        for row in section():
            rows.append(row)
            print(f"{time.monotonic() - begun:6.0f} s", row.model, row.method, row.value, flush=True)
    write("quality_watch", rows, ["Simulated; the seeds are fixed."])


if __name__ == "__main__":
    main()
