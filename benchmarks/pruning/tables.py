"""Choices on held-out rows, sweeps over sparsities and seeds, and rows of a stored result."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from benchmarks.pruning.pool import Job, Pool
from benchmarks.pruning.runs import Options, Outcome
from benchmarks.results_file import Row

CHOOSING_SEED = 1000
"""Choices are made with another seed than those that are reported."""

Found = dict[str, dict[float, list[Outcome]]]
"""Outcomes by title of the method and sparsity, one for each seed."""


@dataclass(frozen=True)
class Method:
    """One column of a table.

    `published` is the name of the column in the published table, or empty. With `only`, it is
    run at these sparsities alone; with `seeds`, for fewer seeds than the others.
    """

    title: str
    kind: str
    candidates: tuple[Options, ...]
    published: str = ""
    only: tuple[float, ...] = ()
    seeds: int = 1_000


@dataclass(frozen=True)
class Table:
    """What is asked for: methods, sparsities, seeds, and the published figures beside them."""

    title: str
    methods: tuple[Method, ...]
    sparsities: tuple[float, ...]
    choosing: tuple[float, ...]
    seeds: int
    published: Mapping[float, Mapping[str, float]]
    remark: str = ""


def fill(table: Table, pool: Pool) -> list[Row]:
    """Chooses, sweeps, and times each method alone: all rows of the result."""
    chosen, tried = _choose(table, pool)
    found = _sweep(table, chosen, pool)
    rows = [row for method in table.methods for row in _rows(table, method, chosen, found)]
    rows.sort(key=lambda row: row.model)
    return [*rows, *_advantages(table, found), *_alone(table, chosen, pool), *tried]


def _choose(table: Table, pool: Pool) -> tuple[dict[str, Options], list[Row]]:
    """The options with the lowest mean held-out loss; the test rows decide nothing."""
    open_methods = [method for method in table.methods if len(method.candidates) > 1]
    wanted = [
        (method, options, sparsity)
        for method in open_methods
        for options in method.candidates
        for sparsity in table.choosing
    ]
    outcomes = pool.map([Job(m.kind, s, CHOOSING_SEED, o) for m, o, s in wanted])
    losses: dict[str, dict[Options, list[float]]] = {}
    rows: list[Row] = []
    for (method, options, sparsity), outcome in zip(wanted, outcomes, strict=True):
        loss = math.inf if outcome is None else outcome.held_out_loss
        losses.setdefault(method.title, {}).setdefault(options, []).append(loss)
        if outcome is not None:
            rows += _tried(table, method, options, sparsity, outcome)
    chosen = {method.title: method.candidates[0] for method in table.methods}
    for title, by_options in losses.items():
        chosen[title] = min(by_options, key=lambda options: statistics.mean(by_options[options]))
        print(f"chosen for {title}: {chosen[title].title}", flush=True)
    return chosen, rows


def _tried(
    table: Table, method: Method, options: Options, sparsity: float, outcome: Outcome
) -> Iterator[Row]:
    model = f"{table.title}: choices for {method.title}"
    note = f"sparsity {sparsity:g}, one seed"
    loss, accuracy = outcome.held_out_loss, outcome.accuracy
    yield Row(model, options.title, "held_out_loss", loss, None, None, "nat", 1, note)
    seen = f"{note}; test rows, not used for the choice"
    yield Row(model, options.title, "accuracy", accuracy, None, None, "%", 1, seen)


def _sweep(table: Table, chosen: Mapping[str, Options], pool: Pool) -> Found:
    # Seed by seed, so that a run out of time has fewer seeds and not fewer sparsities.
    wanted = [
        (method, sparsity, seed)
        for seed in range(table.seeds)
        for sparsity in table.sparsities
        for method in reversed(table.methods)
        if seed < method.seeds and (not method.only or sparsity in method.only)
    ]
    outcomes = pool.map([Job(m.kind, s, seed, chosen[m.title]) for m, s, seed in wanted])
    found: Found = {}
    for (method, sparsity, _), outcome in zip(wanted, outcomes, strict=True):
        if outcome is not None:
            found.setdefault(method.title, {}).setdefault(sparsity, []).append(outcome)
    return found


def _rows(
    table: Table, method: Method, chosen: Mapping[str, Options], found: Found
) -> Iterator[Row]:
    for sparsity, outcomes in found.get(method.title, {}).items():
        figure = table.published.get(sparsity, {}).get(method.published)
        parts = ["" if method.kind == "magnitude" else chosen[method.title].title]
        parts += ["" if figure is None else f"published {figure:.2f}{table.remark}"]
        accuracy = [outcome.accuracy for outcome in outcomes]
        model = f"{table.title}, sparsity {sparsity:g}"
        mean, note = statistics.mean(accuracy), "; ".join(part for part in parts if part)
        low, high = interval(accuracy)
        yield Row(model, method.title, "accuracy", mean, low, high, "%", len(accuracy), note)
        # 0 stands for a run that was paused on the way, whose clock tells nothing.
        taken = [outcome.seconds for outcome in outcomes if outcome.seconds]
        if taken:
            mean, (low, high) = statistics.mean(taken), interval(taken)
            told = "beside other runs on the same machine"
            yield Row(model, method.title, "time", mean, low, high, "s", len(taken), told)


def _advantages(table: Table, found: Found) -> Iterator[Row]:
    """How much the last method is better than the others, seed by seed."""
    last = [method.title for method in table.methods if not method.only][-1]
    for sparsity in sorted(found.get(last, {})):
        model = f"{table.title}: {last} against others, sparsity {sparsity:g}"
        for method in table.methods:
            others = found.get(method.title, {}).get(sparsity, [])
            if not others or method.title == last:
                continue
            # Magnitude has no seed: one value stands beside all.
            beside = others * len(found[last][sparsity]) if len(others) == 1 else others
            apart = [
                a.accuracy - b.accuracy for a, b in zip(found[last][sparsity], beside, strict=False)
            ]
            low, high = interval(apart)
            mean, n = statistics.mean(apart), len(apart)
            yield Row(model, f"over {method.title}", "advantage", mean, low, high, "points", n)


def _alone(table: Table, chosen: Mapping[str, Options], pool: Pool) -> Iterator[Row]:
    """Time and memory of one run of each method while nothing else uses the device."""
    sparsity = table.choosing[-1]
    jobs = [Job(m.kind, sparsity, 0, chosen[m.title]) for m in table.methods if not m.only]
    model = f"{table.title}: time and memory of one run, sparsity {sparsity:g}"
    # The first run pays for loading kernels.
    outcomes = pool.alone([jobs[0], *jobs])[1:]
    timed = [method for method in table.methods if not method.only]
    for method, outcome in zip(timed, outcomes, strict=True):
        if outcome is None:
            continue
        note = chosen[method.title].title if method.kind != "magnitude" else ""
        yield Row(model, method.title, "time", outcome.seconds, None, None, "s", 1, note)
        if outcome.peak_bytes:
            peak = float(outcome.peak_bytes)
            yield Row(model, method.title, "peak_memory", peak, None, None, "bytes", 1, note)


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The interval of the mean at 95 % (Student's t); none for one value."""
    n = len(values)
    if n < 2:
        return None, None
    half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    mean = statistics.mean(values)
    return mean - half, mean + half
