"""Every group's change in quality with its worst case and the drop allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jettison.domain.certificate import Claim
from jettison.domain.run import RunRecord
from jettison.reporting import cells
from jettison.reporting.findings import claims_of, unit_of
from jettison.reporting.plotly_figure import (
    GRID,
    Plot,
    axis,
    distinct,
    escaped,
    layout_of,
    middle,
)

REACH = 4.0
"""Margins that are drawn: a group of 20 rows excludes nothing, and would press all others flat."""

_FOREST_LOOKS = {
    "held": ("--plot-green", "circle"),
    "broken": ("--plot-orange", "x"),
    "undecided": ("--plot-purple", "diamond-open"),
}


def forest(record: RunRecord) -> Plot | None:
    """Each group's change with its worst case and its margin; `None` without claims."""
    known = [claim for claim in claims_of(record) if claim.estimate is not None]
    # One axis has one unit: the first metric is drawn, the others stand in the table.
    claims = [claim for claim in known if claim.metric == known[0].metric][::-1]
    if not claims:
        return None
    others = sorted({claim.metric for claim in known} - {claims[0].metric})
    rest = f" The table below also has {', '.join(others)}." if others else ""
    unit = unit_of(record, claims[0].metric)
    scale, words = (100.0, "points") if unit == "fraction" else (1.0, unit)
    names = dict(zip([id(c) for c in claims], distinct([middle(c.group) for c in claims])))
    traces = [
        _forest_trace(record, [c for c in claims if c.verdict == verdict], names, look, scale)
        for verdict, look in _FOREST_LOOKS.items()
        if any(c.verdict == verdict for c in claims)
    ]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "drop allowed",
            "x": [-claim.margin * scale for claim in claims],
            "y": [names[id(claim)] for claim in claims],
            "marker": {
                "symbol": "line-ns-open",
                "size": 14,
                "color": "--plot-ink",
                "line": {"width": 2, "color": "--plot-ink"},
            },
            "hoverinfo": "skip",
        }
    )
    y = {**GRID, "automargin": True, "type": "category"}
    y["categoryorder"], y["categoryarray"] = "array", list(names.values())
    x = axis(f"change in {claims[0].metric}, {words}")
    if (shown := _range(claims, scale)) is not None:
        x["range"] = shown
        rest += " Bars that run out of the picture reach further than is worth drawing."
    x.update(zeroline=True, zerolinewidth=2)
    return Plot(
        "forest",
        "Every group",
        "A mark is the measured change, its bar reaches the worst case that the sealed rows can't "
        "exclude. A claim is held where the whole bar stays to the right of the upright tick, the "
        f"drop allowed.{rest}",
        {"data": traces, "layout": layout_of(x, y)},
        150 + 24 * len(claims),
    )


def _range(claims: Sequence[Claim], scale: float) -> list[float] | None:
    """The stretch to draw where a worst case would press all else flat; `None` where none does."""
    margin = max(claim.margin for claim in claims)
    drops = [claim.estimate or 0.0 for claim in claims]
    farthest = max((claim.bound or 0.0 for claim in claims), default=0.0)
    reach = max(REACH * margin, 1.2 * max(drops))
    if farthest <= reach:
        return None
    return [-reach * scale, max(0.2 * margin, -1.2 * min(drops)) * scale]


def _forest_trace(
    record: RunRecord,
    claims: Sequence[Claim],
    names: Mapping[int, str],
    look: tuple[str, str],
    scale: float,
) -> dict[str, Any]:
    colour, symbol = look
    x = [-(claim.estimate or 0.0) * scale for claim in claims]
    reach = [
        0.0 if claim.bound is None else max(0.0, claim.bound - (claim.estimate or 0.0)) * scale
        for claim in claims
    ]
    hover = [
        f"{escaped(claim.group)}: {cells.claim_words(claim)}<br>"
        f"change {cells.claim_change(record, claim)}, at worst {cells.claim_worst(record, claim)}"
        f"<br>drop allowed {cells.claim_margin(record, claim)}, n = {claim.n:,}"
        + (f"<br>{cells.claim_rows(claim)} rows needed" if claim.rows_needed else "")
        for claim in claims
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": claims[0].verdict,
        "x": x,
        "y": [names[id(claim)] for claim in claims],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [0.0] * len(claims),
            "arrayminus": reach,
            "color": colour,
            "thickness": 2,
            "width": 5,
        },
        "marker": {"color": colour, "size": 9, "symbol": symbol, "line": {"color": colour}},
        "hovertext": hover,
        "hoverinfo": "text",
    }
