"""Measures the error rates and the power of certification: the long form of tests/statistics.

    python -m benchmarks.certification            # about 10 minutes on one core

Writes benchmarks/results/certification.json. Each row has the figure that an independent prototype
gave for the same cell, as `reference`, where there is one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import results_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "statistics"))

import losses  # noqa: E402
import simulation as sim  # noqa: E402

from jettison.statistics import clopper_pearson_interval, mean_rows_needed, rows_needed  # noqa: E402
from jettison.statistics.bounded_means import bounded_mean_test, unit_means  # noqa: E402

RUNS = 2000


@dataclass(frozen=True, slots=True)
class Row(results_file.Row):
    """A number beside the one that an independent prototype gave for the same cell."""

    reference: float | None = None


def rate(model: str, method: str, metric: str, value: float, reference: float | None = None) -> Row:
    """Describes a rate over `RUNS` simulated runs with its exact interval."""
    found = clopper_pearson_interval(round(value * RUNS), RUNS)
    return Row(
        model, method, metric, value, found.low, found.high, "fraction", RUNS, reference=reference
    )


def exact(
    model: str, method: str, metric: str, value: float, reference: float | None = None
) -> Row:
    """Describes a number that was computed, not simulated."""
    unit = "rows" if metric == "rows_needed" else "fraction"
    note = "computed by enumeration, so it has no interval"
    return Row(model, method, metric, value, None, None, unit, 0, note, reference)


def false_ship() -> Iterable[Row]:
    """Chance to ship a bad model, by the product's procedure."""
    product = "shortlist + fixed sequence + intersection-union"
    scenarios = [
        *((sim.flat(f"null, {n} sealed", n), 0.048) for n in (1000, 2000, 5000, 10_000)),
        (sim.flat("correlated null, 2000 sealed", 2000, correlated=True), None),
        *((sim.ladder(n), 0.003) for n in (1000, 2000, 5000)),
        *((sim.small_group_at_margin(n), r) for n, r in ((5000, 0.030), (10_000, 0.043))),
        *((sim.everyone_at_margin(n), r) for n, r in ((5000, 0.010), (10_000, 0.039))),
    ]
    for seed, (scenario, reference) in enumerate(scenarios):
        rates = sim.simulate(scenario, sim.certify, RUNS, 100 + seed)
        yield rate(scenario.name, product, "false_ship", rates.false, reference)
    rates = sim.adaptive_search(RUNS, 150, leaked=False)
    yield rate("search adapts to selection rows", product, "false_ship", rates.false)


def faulty() -> Iterable[Row]:
    """The same harness with procedures that are known to be wrong."""
    null, group = sim.flat("null, 2000 sealed", 2000), sim.small_group_at_margin(10_000)
    for name, scenario, procedure, reference in (
        ("naive point estimate", null, sim.naive_point, 0.99),
        ("unadjusted 95 % interval", null, sim.unadjusted_interval, 0.7),
        ("overall test only", group, sim.certify_whole_only, 1.0),
    ):
        rates = sim.simulate(scenario, procedure, RUNS, 201)
        yield rate(scenario.name, name, "false_ship", rates.false, reference)
    rates = sim.adaptive_search(RUNS, 202, leaked=True)
    yield rate("search adapts to sealed rows", "leaked seal", "false_ship", rates.false)


def power() -> Iterable[Row]:
    """Chance to ship a fine model, and of one single test to pass."""
    product = "shortlist + fixed sequence + intersection-union"
    for make, sealed, reference in (
        (sim.ladder, 1000, 0.66),
        (sim.ladder, 2000, 0.90),
        (sim.ladder, 5000, 0.99),
        (sim.grouped_ladder, 5000, 0.68),
        (sim.grouped_ladder, 10_000, 0.98),
    ):
        scenario = make(sealed)
        rates = sim.simulate(scenario, sim.certify, RUNS, 300 + sealed)
        yield rate(scenario.name, product, "ships_fine", rates.fine, reference)
    table = {500: (0.32, 0.23), 1000: (0.55, 0.40), 2000: (0.81, 0.65), 5000: (0.99, 0.95)}
    for n, references in table.items():
        for drop, reference in zip((0.0, 0.002), references, strict=True):
            value = sim.exact_power(n, 0.01, drop, 0.03)
            name = f"drop {drop:g}, disagreement 0.03, margin 0.01, {n} rows"
            yield exact(name, "Tango, Berger-Boos", "power", value, reference)


def size() -> Iterable[Row]:
    """Largest exact error rate of the paired 0/1 test at the margin."""
    cells = [
        (n, margin, alpha)
        for n in (20, 50, 100, 300, 1000, 3000)
        for margin in (0.005, 0.01, 0.02, 0.03, 0.05)
        for alpha in (0.05, 0.01, 0.001)
        if sim.floor_rows(margin, alpha) <= n
    ]
    for n, margin, alpha in [*cells, (10_000, 0.01, 0.05), (50_000, 0.01, 0.05)]:
        most = (1 - margin) / 2 if n <= 100 else min(0.2, max(60 / n, 0.012))
        grid = most * np.linspace(0, 1, 1000) ** 2
        value = float(sim.exact_size(n, margin, alpha, grid).max())
        name = f"{n} rows, margin {margin:g}, alpha {alpha:g}, p01 up to {most:.3g}"
        yield exact(name, "Tango, Berger-Boos", "size", value, alpha)


def plan() -> Iterable[Row]:
    """Rows needed, and the exact power that they give."""
    references = {
        0.01: ((0.005, 516, 805), (0.01, 804, 1226), (0.03, 1964, 3054), (0.05, 3200, 4916)),
        0.02: ((0.005, 222, 222), (0.01, 255, 328), (0.03, 531, 664), (0.05, 810, 1009)),
        0.03: ((0.005, 99, 147), (0.01, 147, 169), (0.03, 268, 297), (0.05, 384, 443)),
        0.05: ((0.005, 59, 59), (0.01, 87, 87), (0.03, 118, 130), (0.05, 158, 167)),
    }
    for margin, row in references.items():
        for disagreement, *expected in row:
            for drop, reference in zip((0.0, 0.002), expected, strict=True):
                n = rows_needed(margin, disagreement, drop)
                name = f"margin {margin:g}, disagreement {disagreement:g}, drop {drop:g}"
                yield exact(name, "for a power of 0.8", "rows_needed", n, reference)
                if n < 1500:
                    value = sim.exact_power(n, margin, drop, disagreement)
                    yield exact(name, f"with {n} rows", "power_at_rows_needed", value, 0.8)


def means() -> Iterable[Row]:
    """Error rates of the bounded-mean test at the margin, and with a unit declared or not."""
    for draw in (losses.light, losses.skewed, losses.catastrophe):
        for n in (300, 500, 2000):
            value = losses.held_rate(draw, n, RUNS, n)
            name = f"{draw.__name__} losses, bound {losses.WORST[draw]:g}, {n} units"
            yield rate(name, "t with a worst-case unit", "size", value, 0.047)
    rng = np.random.default_rng(401)
    held = np.zeros(2)
    for _ in range(RUNS):
        drops, units = losses.documents(rng, 320)
        for i, codes in enumerate((units, None)):
            test = bounded_mean_test(unit_means(drops, codes, None), 0.02, 1.0)
            held[i] += test.p_value <= 0.05
    for name, count in zip(("unit declared", "rows taken as independent"), held, strict=True):
        yield rate("320 documents with a shared effect", name, "size", count / RUNS)
    needed = mean_rows_needed(0.01, 0.1, 0.0, 1.0)
    yield exact("deviation 0.1, margin 0.01", "for a power of 0.8", "rows_needed", needed)


def main() -> None:
    start = time.monotonic()
    rows: list[Row] = []
    for section in (faulty, false_ship, power, plan, means, size):
        for row in section():
            rows.append(row)
            print(f"{time.monotonic() - start:6.0f} s", row.model, row.metric, row.value)
        results_file.write("certification", rows)


if __name__ == "__main__":
    main()
