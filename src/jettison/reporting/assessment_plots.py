"""The plots of an assessment: a figure by group with intervals, and reliability of scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jettison.domain.assessment import Assessment, ReliabilityBin
from jettison.domain.measurement import OVERALL, Estimate
from jettison.reporting.assessment_tables import figure_text, own_name, range_text, title_of
from jettison.reporting.plotly_figure import (
    GRID,
    Plot,
    axis,
    distinct,
    error_bars,
    escaped,
    layout_of,
    middle,
)
from jettison.reporting.quantities import percent

MOST_GROUPS = 30
LINES = 4
"""Reliability lines in one plot: more can't be told apart."""

_COLOURS = ("--plot-blue", "--plot-orange", "--plot-green", "--plot-purple")


def lead_metric(record: Assessment) -> str:
    """The figure that the page draws: that of the worst finding, or the errors."""
    known = {estimate.metric for estimate in record.leading.estimates}
    harmful = [finding.metric for finding in record.leading.findings if finding.harm]
    usual = ("error_rate", "absolute_error", "selection_rate", "mean_prediction")
    return next((name for name in (*harmful, *usual) if name in known), "")


def group_plots(record: Assessment) -> Iterator[Plot]:
    """For each column, the leading figure of every group with its interval."""
    metric = lead_metric(record)
    for number, column in enumerate(record.groups):
        plot = _group_plot(record, (metric, column), number)
        if plot is not None:
            yield plot


def _group_plot(record: Assessment, told: tuple[str, str], number: int) -> Plot | None:
    metric, column = told
    groups = record.groups[column]
    found = [
        e
        for e in record.leading.estimates
        if e.metric == metric and e.group in groups and e.value is not None
    ]
    worse = 1.0 if found and found[0].better == "lower" else -1.0
    found.sort(key=lambda e: -worse * (e.value or 0.0))
    found = found[:MOST_GROUPS][::-1]
    if not found:
        return None
    names = dict(
        zip([e.group for e in found], distinct([middle(own_name(column, e.group)) for e in found]))
    )
    traces = []
    if len(record.models) > 1:
        old = [record.models[0].get(metric, e.group) for e in found]
        pairs = [e for e in old if e is not None and e.value is not None]
        traces.append(_dots(pairs, names, ("original", "--plot-axis", "circle-open")))
    label = "shipped" if len(record.models) > 1 else "each group"
    traces.append(_dots(found, names, (label, "--plot-blue", "circle")))
    overall = record.leading.get(metric, OVERALL)
    y = {**GRID, "automargin": True, "type": "category"}
    y["categoryorder"], y["categoryarray"] = "array", list(names.values())
    unit = found[0].unit
    x = axis(f"{title_of(metric)}{', %' if unit == 'fraction' else ''}")
    layout = layout_of(x, y)
    caption = "A dot is the measured figure of a group, its bar the 95 % interval of that group."
    if overall is not None and overall.value is not None:
        layout["shapes"] = [_line(overall.value * _scale(unit))]
        caption += f" The line is all rows together: {figure_text(overall.value, unit)}."
    if len(groups) > MOST_GROUPS:
        caption += f" The {MOST_GROUPS} worst of {len(groups):,} groups are drawn."
    return Plot(
        f"groups-{number}",
        f"{title_of(metric).capitalize()} by {column}",
        caption,
        {"data": traces, "layout": layout},
        130 + 26 * len(found),
    )


def _dots(
    found: list[Estimate], names: dict[str, str], look: tuple[str, str, str]
) -> dict[str, Any]:
    label, colour, symbol = look
    scale = _scale(found[0].unit) if found else 1.0
    ends = [(_scaled(e.value, scale), _scaled(e.low, scale), _scaled(e.high, scale)) for e in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label,
        "x": [value for value, _, _ in ends],
        "y": [names[e.group] for e in found],
        "error_x": error_bars(ends, colour),
        "marker": {"color": colour, "size": 9, "symbol": symbol},
        "hovertext": [
            f"{escaped(e.group)} ({label})<br>{figure_text(e.value, e.unit)}, "
            f"{range_text(e.low, e.high, e.unit)}<br>n = {e.n:,}"
            for e in found
        ],
        "hoverinfo": "text",
    }


def reliability_plot(record: Assessment) -> Plot | None:
    """Scores against what happened, for the largest groups of the first column with bins."""
    bins: dict[str, list[ReliabilityBin]] = {}
    for one in record.leading.bins:
        bins.setdefault(one.group, []).append(one)
    if not bins:
        return None
    column = next(c for c, groups in record.groups.items() if set(bins) & set(groups))
    mine = [group for group in bins if group in record.groups[column]]
    mine.sort(key=lambda group: -sum(one.n for one in bins[group]))
    drawn = mine[:LINES]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "perfect",
            "x": [0, 100],
            "y": [0, 100],
            "line": {"color": "--plot-axis", "dash": "dot", "width": 1},
            "hoverinfo": "skip",
        }
    ]
    traces += [
        _reliability_line(bins[group], middle(own_name(column, group)), colour)
        for colour, group in zip(_COLOURS, drawn, strict=False)
    ]
    happened = (
        f"share that is {record.positive}, %" if record.positive else "share that is right, %"
    )
    return Plot(
        "reliability",
        f"Do scores mean what they say? By {column}",
        "Bins of about equal numbers of rows. On the dotted line a score is as good as a share; "
        "above it, scores are too low.",
        {"data": traces, "layout": layout_of(axis("mean score, %"), axis(happened))},
        400,
    )


def _reliability_line(bins: list[ReliabilityBin], name: str, colour: str) -> dict[str, Any]:
    ends = [(100 * b.share, 100 * b.low, 100 * b.high) for b in bins]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escaped(name),
        "x": [100 * b.score for b in bins],
        "y": [value for value, _, _ in ends],
        "error_y": error_bars(ends, colour),
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "size": 7},
        "hovertext": [
            f"{escaped(name)}<br>score {percent(b.score)}, happened {percent(b.share)}<br>n = {b.n:,}"
            for b in bins
        ],
        "hoverinfo": "text",
    }


def _line(x: float) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": "--plot-ink", "width": 1, "dash": "dash"},
    }


def _scale(unit: str) -> float:
    return 100.0 if unit == "fraction" else 1.0


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale
