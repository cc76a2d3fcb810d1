"""What all plots of the report share: plain plotly figures (`data` and `layout`), not drawn here.

Colours are names of CSS variables (`--plot-...`): the page fills them in for its light or dark
scheme. plotly reads a little HTML in texts, so every name from outside is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figure = Mapping[str, Any]
LABEL_LENGTH = 26
GRID = {"gridcolor": "--plot-grid", "zerolinecolor": "--plot-axis", "linecolor": "--plot-axis"}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot.

    Attributes:
        name: of the HTML element.
        title: heading; `caption` says in words how to read it.
        figure: `data` and `layout` of plotly.
        height: in pixels.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    height: int


def escaped(text: str) -> str:
    """Escapes a text for plotly, which reads a little HTML but knows no `&quot;`."""
    return html.escape(text, quote=False)


def axis(title: str) -> dict[str, Any]:
    """An axis with its title."""
    return {**GRID, "title": {"text": escaped(title)}, "zeroline": False, "automargin": True}


def layout_of(x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    """The layout of a plot with two axes; no dragging, so that a phone can scroll past it."""
    return {
        "xaxis": x,
        "yaxis": y,
        "margin": {"l": 56, "r": 12, "t": 12, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--plot-ink", "size": 13, "family": "--plot-font"},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hoverlabel": {
            "bgcolor": "--plot-panel",
            "bordercolor": "--plot-axis",
            "font": {"color": "--plot-ink"},
            "align": "left",
        },
        "hovermode": "closest",
        "dragmode": False,
    }


def error_bars(
    values: Sequence[tuple[float | None, float | None, float | None]], colour: str
) -> dict[str, Any]:
    """Error bars from (value, low, high); a missing end is drawn as none."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [
            max(0.0, (high if high is not None else v or 0.0) - (v or 0.0)) for v, _, high in values
        ],
        "arrayminus": [
            max(0.0, (v or 0.0) - (low if low is not None else v or 0.0)) for v, low, _ in values
        ],
        "color": colour,
        "thickness": 1.5,
        "width": 4,
    }


def short(name: str, length: int = LABEL_LENGTH) -> str:
    """The beginning of a long name."""
    return name if len(name) <= length else name[: length - 1] + "…"


def middle(name: str) -> str:
    """Both ends of a long name: groups of one column share their beginning."""
    if len(name) <= LABEL_LENGTH:
        return name
    half = (LABEL_LENGTH - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def tail(name: str) -> str:
    """The end of a layer's name: its beginning is what all layers share."""
    return name if len(name) <= LABEL_LENGTH else "…" + name[-(LABEL_LENGTH - 1) :]


def distinct(names: Sequence[str]) -> list[str]:
    """Escapes names and makes equal ones different: plotly would draw them on one line."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(escaped(name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return result
