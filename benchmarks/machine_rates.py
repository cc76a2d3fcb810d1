"""What this machine reaches: the rates behind the roofline, in fresh processes.

    python -m benchmarks.machine_rates        on a quiet machine

Each launch is a worker of jettison's own that reads and multiplies for a few seconds. Intervals are over
launches (Student's t on logarithms, 95 %); the spread says how far one launch, which is what
`jettison doctor` makes, may be off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.results_file import Row, write
from jettison import machine, worker_client
from jettison.domain.jobs import RatesJob
from jettison.domain.rates import FLOAT, Rates
from jettison.statistics.intervals import log_ratio_interval

LAUNCHES = 7
GIGA = 1e9


def main() -> None:
    rows: list[Row] = []
    notes: list[str] = []
    for threads in sorted({1, machine.cores()}):
        meter = machine.ContentionMeter([])
        launches = [worker_client.run_rates(RatesJob(threads)) for _ in range(LAUNCHES)]
        rows += rows_of(threads, launches)
        notes.append(f"{threads} threads: {meter.stop(0, 0)}.")
    write("machine_rates", rows, notes)


def rows_of(threads: int, launches: Sequence[Rates]) -> Iterator[Row]:
    model = f"{threads} thread" + "s" * (threads > 1)
    for place, level in enumerate(launches[0].levels):
        values = [one.levels[place].rate.peak / GIGA for one in launches]
        yield row(model, f"reads from {level.name}", "rate", values, "GB/s")
    for kind in sorted(set.intersection(*(set(one.products) for one in launches))):
        values = [one.products[kind].peak / GIGA for one in launches]
        yield row(model, f"{kind} products", "rate", values, "GMAC/s")
        if kind != FLOAT:
            ratios = [one.products[kind].peak / one.products[FLOAT].peak for one in launches]
            yield row(model, f"{kind} products", "over float32", ratios, "ratio")
    yield row(model, "all of it", "time", [one.seconds for one in launches], "s")


def row(model: str, method: str, metric: str, values: Sequence[float], unit: str) -> Row:
    logs = [math.log(value) for value in values]
    interval = log_ratio_interval(logs)
    spread = f"launches from {min(values):.3g} to {max(values):.3g}"
    print(f"{model}, {method}, {metric}: {interval.value:.3g} {unit} ({spread})", flush=True)
    return Row(
        model,
        method,
        metric,
        interval.value,
        interval.low,
        interval.high,
        unit,
        len(values),
        spread,
    )


if __name__ == "__main__":
    main()
