"""The roofline drawn: what this machine attains at each arithmetic intensity, and the layers below."""

from __future__ import annotations

from typing import Any

from jettison.domain.rates import FLOAT
from jettison.domain.run import RunRecord
from jettison.numerics.roofline import LayerRoof, residence, rooflines
from jettison.reporting.plotly_figure import Plot, axis, escaped, layout_of
from jettison.reporting.quantities import percent, significant
from jettison.reporting.roofline import BOUND_WORDS

HEIGHT = 380
SMALLEST, LARGEST = 7.0, 26.0
"""Pixels of a marker: a layer with no share of the time, and one with all of it."""

_COLOURS = {"memory": "--plot-orange", "compute": "--plot-blue", "neither": "--plot-purple"}
_SYMBOLS = {"memory": "square", "compute": "circle", "neither": "x"}


def roofline_plot(record: RunRecord) -> Plot | None:
    """Layers with products under the roof; `None` where rates or times are not known."""
    profile = record.profile
    level, rates = residence(profile), profile.rates
    shown = [roof for roof in rooflines(profile) if roof.intensity > 0 and roof.achieved > 0]
    if not shown or level is None or rates is None or FLOAT not in rates.products:
        return None
    peak = rates.products[FLOAT].peak
    ridge = peak / level.rate.peak
    ends = [roof.intensity for roof in shown] + [ridge]
    left, right = min(ends) / 2, max(ends) * 4
    roof_line = {
        "type": "scatter",
        "mode": "lines",
        "name": f"attainable in float32, reading from {escaped(level.name)}",
        "x": [left, ridge, right],
        "y": [left * level.rate.peak / 1e9, peak / 1e9, peak / 1e9],
        "line": {"color": "--plot-ink", "width": 2},
        "hoverinfo": "skip",
    }
    traces = [roof_line]
    for bound, word in BOUND_WORDS.items():
        some = [roof for roof in shown if roof.bound == bound]
        if some:
            traces.append(_points(some, f"bound by {word}", bound))
    x, y = axis("multiply-accumulates per byte"), axis("GMAC/s")
    x["type"] = y["type"] = "log"
    return Plot(
        "roofline",
        "Layers under the roofline of this machine",
        "On the slope a layer waits for bytes; under the flat part it computes. Far below the line "
        "something else takes the time. Large marks take more of it.",
        {"data": traces, "layout": layout_of(x, y)},
        HEIGHT,
    )


def _points(roofs: list[LayerRoof], name: str, bound: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [roof.intensity for roof in roofs],
        "y": [roof.achieved / 1e9 for roof in roofs],
        "marker": {
            "color": _COLOURS[bound],
            "symbol": _SYMBOLS[bound],
            "size": [SMALLEST + (LARGEST - SMALLEST) * roof.time_share**0.5 for roof in roofs],
            "opacity": 0.8,
        },
        "hovertext": [
            f"{escaped(roof.name)} ({escaped(roof.operator)})<br>{percent(roof.time_share)} of the "
            f"time, {significant(roof.achieved / 1e9)} of {significant(roof.attainable / 1e9)} "
            f"GMAC/s ({percent(roof.reached, 0)})"
            for roof in roofs
        ],
        "hoverinfo": "text",
    }
