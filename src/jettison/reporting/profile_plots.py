"""The cost over the serving profile, and where the time and bytes of the original are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jettison.domain.measurement import Estimate
from jettison.domain.run import RunRecord
from jettison.reporting.findings import the_cost
from jettison.reporting.plotly_figure import (
    GRID,
    Plot,
    axis,
    distinct,
    error_bars,
    escaped,
    layout_of,
    short,
    tail,
)
from jettison.reporting.quantities import bytes_text, percent, plain_name, with_unit
from jettison.reporting.tables import variants

LAYERS_DRAWN = 15
_COLOURS = ("--plot-blue", "--plot-orange", "--plot-green", "--plot-purple", "--plot-sky")
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "x")


def curve(record: RunRecord) -> Plot | None:
    """The cost per example at each batch size; `None` where there is only one."""
    sizes, cost = record.configuration.serving.batch_sizes, the_cost(record)
    if len(sizes) < 2:
        return None
    traces: list[dict[str, Any]] = []
    unit = ""
    for place, (name, measurement) in enumerate(variants(record)):
        found = [(size, measurement.get(cost, f"batch={size}")) for size in sizes]
        known = [(size, e) for size, e in found if e is not None and e.value is not None]
        if not known:
            continue
        unit = known[0][1].unit
        traces.append(_curve_trace(name, known, place))
    if not traces:
        return None
    x = axis("batch size")
    x.update(type="log", tickvals=list(sizes), ticktext=[str(size) for size in sizes])
    y = axis(f"{plain_name(cost)} per example, {unit}")
    y["rangemode"] = "tozero"
    return Plot(
        "curve",
        "Cost over the serving profile",
        "Down is cheaper. Bars are 95 % intervals over launches.",
        {"data": traces, "layout": layout_of(x, y)},
        360,
    )


def _curve_trace(name: str, known: Sequence[tuple[int, Estimate]], place: int) -> dict[str, Any]:
    colour = "--plot-ink" if place == 0 else _COLOURS[(place - 1) % len(_COLOURS)]
    y = [e.value for _, e in known]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escaped(short(name, 48)),
        "x": [size for size, _ in known],
        "y": y,
        "error_y": error_bars([(e.value, e.low, e.high) for _, e in known], colour),
        "line": {"color": colour, "width": 2, "dash": "dot" if place == 0 else "solid"},
        "marker": {"color": colour, "size": 8, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
        "hovertext": [
            f"{escaped(name)}<br>batch of {size}: {with_unit(e.value, e.unit)} per example, "
            f"n = {e.n}"
            for size, e in known
        ],
        "hoverinfo": "text",
    }


def layers(record: RunRecord) -> Plot | None:
    """The operators that take the most time, with the bytes that they hold."""
    known = [layer for layer in record.profile.layers if layer.time_share is not None]
    ranked = sorted(known or record.profile.layers, key=lambda c: (-(c.time_share or 0), -c.bytes))
    shown = ranked[:LAYERS_DRAWN][::-1]
    if not shown:
        return None
    whole = sum(layer.bytes for layer in record.profile.layers) or 1
    names = distinct([tail(layer.name) for layer in shown])
    bars = (
        ("share of the time", [(layer.time_share or 0) * 100 for layer in shown], "--plot-blue"),
        ("share of the bytes", [layer.bytes / whole * 100 for layer in shown], "--plot-orange"),
    )
    hover = [
        f"{escaped(layer.name)} ({escaped(layer.operator)})<br>time "
        f"{percent(layer.time_share)}, {bytes_text(layer.bytes)}"
        for layer in shown
    ]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": values,
            "y": names,
            "marker": {"color": colour},
            "hovertext": hover,
            "hoverinfo": "text",
        }
        for name, values, colour in bars
        if any(values)
    ]
    layout = layout_of(axis("%"), {**GRID, "automargin": True})
    layout.update(barmode="group", bargap=0.25)
    return Plot(
        "layers",
        "Operators of the original",
        "The operators that take the most time, and how much of the stored bytes they hold.",
        {"data": traces, "layout": layout},
        110 + 34 * len(shown),
    )
