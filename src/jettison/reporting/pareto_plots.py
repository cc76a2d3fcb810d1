"""The cost of every candidate against its quality and its size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jettison.domain.run import RunRecord
from jettison.reporting import cells
from jettison.reporting.comparison import every_trial
from jettison.reporting.findings import Gain, gain_of, quality_of, the_cost
from jettison.reporting.plotly_figure import (
    Plot,
    axis,
    error_bars,
    escaped,
    layout_of,
)
from jettison.reporting.quantities import bytes_text, is_time
from jettison.reporting.tables import gain_axis

FILES = "size_bytes"
_TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class _Point:
    title: str
    gain: Gain
    y: float
    y_low: float | None
    text: str


@dataclass(frozen=True, slots=True)
class _Look:
    name: str
    colour: str
    symbol: str
    size: int


def pareto_quality(record: RunRecord) -> Plot | None:
    """The cost against the change in quality; `None` without quality."""
    scale, unit = 1.0, ""
    margin: float | None = None
    points: dict[str, _Point] = {}
    titles = {row.digest: row.title for row in every_trial(record)}
    for trial in record.trials:
        gain, change = gain_of(record, trial, the_cost(record)), quality_of(record, trial)
        if gain is None or change is None or change.value is None:
            continue
        scale, unit = (100.0, "points") if change.unit == "fraction" else (1.0, change.unit)
        margin = change.margin
        low = None if change.worst is None else change.worst * scale
        text = f"{cells.quality_cell(change)} ({cells.quality_note(change)})"
        points[trial.recipe.digest] = _Point(
            titles[trial.recipe.digest], gain, change.value * scale, low, text
        )
    if not points:
        return None
    layout = layout_of(_gain_axis(record, points), axis(f"change in quality, {unit}"))
    layout["shapes"] = _noise_band(record)
    if margin is not None:
        layout["shapes"] = [*_noise_band(record), _horizontal(-margin * scale)]
        layout["annotations"] = [_margin_note(-margin * scale)]
    return Plot(
        "pareto-quality",
        "Cost against quality",
        "To the right is cheaper, up is better. Bars across are 95 % intervals of claims; a bar "
        "down reaches the certified worst case. Hollow marks are no claims. "
        f"{'The grey band is the noise floor, the' if _noise_band(record) else 'The'} dashed line "
        "is the drop allowed.",
        {"data": _traces(record, points, 0.0), "layout": layout},
        420,
    )


def pareto_size(record: RunRecord) -> Plot | None:
    """The cost against the size of the saved files; `None` where nothing was saved, or where that
    is the cost.
    """
    if the_cost(record) == FILES:
        return None
    points: dict[str, _Point] = {}
    titles = {row.digest: row.title for row in every_trial(record)}
    for trial in record.trials:
        gain = gain_of(record, trial, the_cost(record))
        if gain is None or trial.candidate is None:
            continue
        size = trial.candidate.model.artifact.size_bytes
        digest = trial.recipe.digest
        points[digest] = _Point(titles[digest], gain, size / 1e6, None, bytes_text(size))
    if not points:
        return None
    layout = layout_of(_gain_axis(record, points), axis("size of the saved files, MB"))
    layout["yaxis"]["rangemode"] = "tozero"
    layout["shapes"] = _noise_band(record)
    original = record.model.artifact.size_bytes / 1e6
    return Plot(
        "pareto-size",
        "Cost against size",
        "To the right is cheaper, down is smaller. Sizes are exact.",
        {"data": _traces(record, points, original), "layout": layout},
        380,
    )


def _traces(
    record: RunRecord, points: Mapping[str, _Point], original: float
) -> list[dict[str, Any]]:
    """The front, ranking figures, claims, what ships and the original, in drawing order."""
    others = {d: p for d, p in points.items() if d != record.shipped}
    timed = {d: p for d, p in others.items() if p.gain.tier == "claim"}
    claims = {d: p for d, p in timed.items() if p.gain.estimate.state == "ok"}
    noisy = {d: p for d, p in timed.items() if p.gain.estimate.state == "noisy"}
    ranked = {d: p for d, p in others.items() if p.gain.tier == "ranking"}
    shipped = {d: p for d, p in points.items() if d == record.shipped}
    front = sorted(
        (p.gain.estimate.value or 0.0, p.y) for d, p in points.items() if d in record.front
    )
    traces: list[dict[str, Any]] = []
    if len(front) > 1:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front of the search",
                "x": [x for x, _ in front],
                "y": [y for _, y in front],
                "line": {"color": "--plot-axis", "width": 1, "dash": "dot"},
                "hoverinfo": "skip",
            }
        )
    looks = (
        (ranked, _Look("ranking only", "--plot-orange", "circle-open", 9)),
        (noisy, _Look("noisy, no claim", "--plot-purple", "square-open", 9)),
        (claims, _Look("claim", "--plot-blue", "square", 9)),
        (shipped, _Look("ships", "--plot-green", "diamond", 14)),
    )
    traces.extend(_point_trace(list(found.values()), look) for found, look in looks if found)
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "original",
            "x": [1.0],
            "y": [original],
            "marker": {"color": "--plot-ink", "size": 13, "symbol": "star"},
            "hovertext": ["the original"],
            "hoverinfo": "text",
        }
    )
    return traces


def _point_trace(points: Sequence[_Point], look: _Look) -> dict[str, Any]:
    estimates = [point.gain.estimate for point in points]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": look.name,
        "x": [e.value for e in estimates],
        "y": [point.y for point in points],
        "marker": {
            "color": look.colour,
            "size": look.size,
            "symbol": look.symbol,
            "line": {"width": 2},
        },
        "hovertext": [
            f"{escaped(point.title)}<br>{cells.gain_cell(point.gain)} "
            f"{cells.gain_note(point.gain)}<br>{escaped(point.text)}"
            for point in points
        ],
        "hoverinfo": "text",
    }
    if points[0].gain.tier == "claim":
        trace["error_x"] = error_bars([(e.value, e.low, e.high) for e in estimates], look.colour)
    if any(point.y_low is not None for point in points):
        trace["error_y"] = error_bars([(p.y, p.y_low, p.y) for p in points], look.colour)
    return trace


def _gain_axis(record: RunRecord, points: Mapping[str, _Point]) -> dict[str, Any]:
    values = [1.0, *(p.gain.estimate.value or 1.0 for p in points.values())]
    low, high = min(values) * 0.8, max(values) * 1.25
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    x = axis(f"{gain_axis(record)}, log scale")
    x.update(type="log", tickvals=ticks, ticktext=[f"{tick:g}×" for tick in ticks])
    x["range"] = [math.log10(low), math.log10(high)]
    return x


def _noise_band(record: RunRecord) -> list[dict[str, Any]]:
    floor = record.noise_floor
    if not is_time(the_cost(record)):
        return []
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": 1 - floor,
            "x1": 1 + floor,
            "y0": 0,
            "y1": 1,
            "fillcolor": "--plot-axis",
            "opacity": 0.3,
            "line": {"width": 0},
            "layer": "below",
        }
    ]


def _horizontal(y: float) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "paper",
        "yref": "y",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": "--plot-ink", "width": 1, "dash": "dash"},
    }


def _margin_note(y: float) -> dict[str, Any]:
    return {
        "xref": "paper",
        "yref": "y",
        "x": 0,
        "y": y,
        "text": "drop allowed",
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "top",
    }
