"""Batch size by length: where each finalist wins, and where it loses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jettison.domain.measurement import OVERALL, Estimate, Measurement, cell_group, faster_verdict
from jettison.domain.run import GAIN, RunRecord
from jettison.reporting.findings import the_cost
from jettison.reporting.plotly_figure import Plot, axis, error_bars, escaped, layout_of, short
from jettison.reporting.quantities import interval, percent, times, with_unit
from jettison.reporting.tables import Cell, Column, Table, estimate, variants

LATENCY = "latency_ms"
CELL = re.compile(r"^batch=(\d+),length=(\d+)$")
DRAWN = 4
_COLOURS = ("--plot-blue", "--plot-orange", "--plot-green", "--plot-purple")
_DASHES = ("solid", "dash", "dot", "dashdot")
_KINDS = {"faster": "good", "slower": "bad", "no difference shown": "", "noisy": "open"}


def lengths_of(record: RunRecord) -> tuple[int, ...]:
    """The lengths at which the original was timed besides; empty where rows are not ragged."""
    found = (CELL.match(e.group) for e in record.baseline.estimates if e.metric == LATENCY)
    return tuple(sorted({int(cell.group(2)) for cell in found if cell}))


def serving_cells(record: RunRecord) -> Table:
    """The latency of each variant at each batch size, as rows come and at each length."""
    lengths = lengths_of(record)
    sizes = record.configuration.serving.batch_sizes
    columns = (
        Column("Variant", numeric=False),
        Column("Rows a call"),
        Column("As the rows come"),
        *(Column(f"Length {length}") for length in lengths),
    )
    rows = tuple(
        (
            Cell(name),
            Cell(str(size)),
            *(_cell(record, measured, cell_group(size, length)) for length in (0, *lengths)),
        )
        for name, measured in variants(record)
        for size in sizes
    )
    return Table("Latency per row by batch size and length", columns, rows if lengths else ())


def _cell(record: RunRecord, measured: Measurement, group: str) -> Cell:
    """The latency; below it the gain, coloured where it is beyond the noise floor."""
    gain = measured.get(LATENCY + GAIN, group)
    if gain is None or gain.value is None:
        return estimate(measured.get(LATENCY, group))
    own = measured.get(LATENCY, group)
    value = with_unit(own.value, own.unit) if own is not None else ""
    verdict = faster_verdict(gain, record.noise_floor)
    note = f"{times(gain.value)} [{interval(gain)}], n = {gain.n}"
    return Cell(value, note if verdict != "noisy" else f"noisy; {note}", _KINDS[verdict])


def turns(record: RunRecord) -> tuple[str, ...]:
    """A sentence for each finalist that wins in one place and loses in another."""
    sizes, lengths = record.configuration.serving.batch_sizes, lengths_of(record)
    groups = [cell_group(size, length) for length in (0, *lengths) for size in sizes]
    cost = the_cost(record)
    told = []
    for name, measured in variants(record)[1:]:
        found = [(g, measured.get(LATENCY + GAIN, g)) for g in groups]
        known = [(g, e) for g, e in found if e is not None and e.value is not None]
        wins = [(g, e) for g, e in known if faster_verdict(e, record.noise_floor) == "faster"]
        losses = [(g, e) for g, e in known if faster_verdict(e, record.noise_floor) == "slower"]
        if wins and losses:
            whole = measured.get(LATENCY + GAIN, OVERALL)
            over = "" if whole is None else f", {times(whole.value)} over the serving profile"
            decided = "That decides." if cost == LATENCY else f"What decides here is {cost}."
            told.append(
                f"{name} is faster at {_places(wins, best=True)}, and slower at "
                f"{_places(losses, best=False)}{over} "
                f"({_weights(record)}). {decided}"
            )
    return tuple(told)


def _places(found: Sequence[tuple[str, Estimate]], *, best: bool) -> str:
    """The farthest of the places, and how many more there are."""
    ordered = sorted(found, key=lambda item: item[1].value or 0.0, reverse=best)
    group, estimate_there = ordered[0]
    told = f"{group.replace('=', ' ').replace(',', ' and ')} ({times(estimate_there.value)})"
    return told if len(ordered) == 1 else f"{told} and {len(ordered) - 1} more"


def _weights(record: RunRecord) -> str:
    serving = record.configuration.serving
    return ", ".join(
        f"batch {size}: {percent(weight, 0)} of rows"
        for size, weight in zip(serving.batch_sizes, serving.weights)
    )


def serving_cells_plot(record: RunRecord) -> Plot | None:
    """The gain of each finalist over length, a line for each batch size; `None` without lengths."""
    lengths = lengths_of(record)
    if len(lengths) < 2:
        return None
    traces: list[dict[str, Any]] = []
    for place, (name, measured) in enumerate(variants(record)[1 : DRAWN + 1]):
        for dash, size in zip(_DASHES, record.configuration.serving.batch_sizes):
            groups = [(n, measured.get(LATENCY + GAIN, cell_group(size, n))) for n in lengths]
            known = [(n, e) for n, e in groups if e is not None and e.value is not None]
            if known:
                traces.append(_line(f"{short(name, 40)}, batch {size}", known, place, dash))
    if not traces:
        return None
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "the original",
            "x": [lengths[0], lengths[-1]],
            "y": [1, 1],
            "line": {"color": "--plot-ink", "width": 2, "dash": "dot"},
            "hoverinfo": "skip",
        }
    )
    x, y = axis("length of the rows"), axis("times faster")
    x.update(type="log", tickvals=list(lengths), ticktext=[str(length) for length in lengths])
    return Plot(
        "serving-cells",
        "Gain by batch size and length",
        "Below 1 is slower than the original. Bars are 95 % intervals over launches.",
        {"data": traces, "layout": layout_of(x, y)},
        360,
    )


def _line(
    name: str, known: Sequence[tuple[int, Estimate]], place: int, dash: str
) -> dict[str, Any]:
    colour = _COLOURS[place % len(_COLOURS)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escaped(name),
        "x": [length for length, _ in known],
        "y": [e.value for _, e in known],
        "error_y": error_bars([(e.value, e.low, e.high) for _, e in known], colour),
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"color": colour, "size": 8},
        "hovertext": [
            f"{escaped(name)}<br>length {length}: {times(e.value)}, n = {e.n}"
            for length, e in known
        ],
        "hoverinfo": "text",
    }
