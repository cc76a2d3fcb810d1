"""What each layer of the original loses when it alone is changed: on the terminal and in the report."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as TerminalTable
from rich.text import Text

from jettison.domain.profile import LayerCost, Profile
from jettison.domain.run import RunRecord
from jettison.reporting.plotly_figure import GRID, Plot, axis, distinct, escaped, layout_of, tail
from jettison.reporting.quantities import MISSING, significant
from jettison.reporting.tables import Cell, Column, Table

__all__ = ["sensitivity", "sensitivity_plot", "sensitivity_table"]

SHOWN = 40
DRAWN = 15
SMALLEST_PLAIN = 1e-4
_COLOURS = ("--plot-blue", "--plot-orange", "--plot-green", "--plot-purple", "--plot-sky")
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "x", "cross")
TITLE = "What each layer loses when it alone is changed"


def ways(profile: Profile) -> tuple[str, ...]:
    """The ways of changing a layer that were looked at, in the order that they were found."""
    return tuple(dict.fromkeys(way for c in profile.layers for way in c.sensitivity or {}))


def ranked(profile: Profile) -> list[LayerCost]:
    """Layers whose sensitivity is known, the one that loses most by anything first."""
    known = [layer for layer in profile.layers if layer.sensitivity]
    return sorted(known, key=lambda layer: -max((layer.sensitivity or {}).values()))


def loss_text(value: float | None) -> str:
    """Writes a loss.

    >>> loss_text(0.0213), loss_text(3.4e-07), loss_text(0.0), loss_text(None)
    ('0.0213', '3.4e-07', '0', '–')
    """
    if value is None:
        return MISSING
    if 0.0 < abs(value) < SMALLEST_PLAIN:
        return f"{value:.1e}"
    return significant(value)


def sensitivity(record: RunRecord) -> Table:
    """The table of the report; its caption says unit and rows."""
    options = ways(record.profile)
    columns = (Column("Layer", numeric=False), *(Column(option) for option in options))
    ordered = ranked(record.profile)
    rows = tuple(
        (Cell(layer.name, layer.operator), *(Cell(text) for text in _texts(layer, options)))
        for layer in ordered[:SHOWN]
    )
    caption = f"{TITLE}: the {len(rows)} most sensitive of {len(ordered)}"
    return Table(caption, columns, rows)


def sensitivity_table(profile: Profile) -> RenderableType:
    """The same for the terminal; says so where nothing is known."""
    options, ordered = ways(profile), ranked(profile)
    if not ordered:
        return Text("What each layer loses by a change is found only with data (--data).")
    table = TerminalTable(
        title=f"{TITLE} ({len(ordered[:SHOWN])} of {len(ordered)})",
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("layer", overflow="fold")
    for option in options:
        table.add_column(option, justify="right")
    for layer in ordered[:SHOWN]:
        table.add_row(Text(layer.name), *(Text(text) for text in _texts(layer, options)))
    return Group(table, Text(profile.sensitivity_note))


def sensitivity_plot(record: RunRecord) -> Plot | None:
    """One row for each of the most sensitive layers, one mark for each way; `None` without any."""
    options = ways(record.profile)
    shown = ranked(record.profile)[:DRAWN][::-1]
    if not shown:
        return None
    names = distinct([tail(layer.name) for layer in shown])
    traces = [_trace(place, option, shown, names) for place, option in enumerate(options)]
    x = axis("loss")
    # Ways differ by many powers of ten; what loses nothing has no place on such an axis.
    x.update(type="log", exponentformat="power")
    return Plot(
        "sensitivity",
        TITLE,
        f"To the left is less. {record.profile.sensitivity_note}",
        {"data": traces, "layout": layout_of(x, {**GRID, "automargin": True})},
        110 + 34 * len(shown),
    )


def _trace(place: int, option: str, shown: list[LayerCost], names: list[str]) -> dict[str, Any]:
    found = [
        (name, layer, (layer.sensitivity or {}).get(option, 0.0))
        for name, layer in zip(names, shown, strict=True)
    ]
    drawn = [(name, layer, value) for name, layer, value in found if value > 0.0]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escaped(option),
        "x": [value for _, _, value in drawn],
        "y": [name for name, _, _ in drawn],
        "marker": {
            "color": _COLOURS[place % len(_COLOURS)],
            "size": 9,
            "symbol": _SYMBOLS[place % len(_SYMBOLS)],
        },
        "hovertext": [
            f"{escaped(layer.name)}<br>{escaped(option)}: {loss_text(value)}"
            for _, layer, value in drawn
        ],
        "hoverinfo": "text",
    }


def _texts(layer: LayerCost, options: tuple[str, ...]) -> list[str]:
    return [loss_text((layer.sensitivity or {}).get(option)) for option in options]
