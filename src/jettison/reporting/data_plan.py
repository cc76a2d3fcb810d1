"""The plan of the data in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jettison.domain.data_plan import DataPart, DataPlan, Way
from jettison.reporting.quantities import MISSING

_STYLES: Mapping[str, str] = {
    "enough": "green",
    "by churn only": "cyan",
    "too few": "yellow",
    "impossible": "red",
    "no data": "dim",
}


def data_plan(plan: DataPlan) -> RenderableType:
    """Rows needed and held per group; what to do stands below the table."""
    table = Table(
        title=f"Data plan: {plan.metric} at {plan.confidence:.4g} confidence, sealed {plan.counted}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        expand=True,
    )
    table.add_column("group", overflow="fold", ratio=1)
    for heading in ("drop\nallowed", "held", "needed with\nlabels", "of them\nto label"):
        table.add_column(heading, justify="right", no_wrap=True)
    if _by_churn(plan):
        table.add_column("needed by\nchurn", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for part in plan.parts:
        table.add_row(
            Text(part.group),
            f"{part.margin:.3g}",
            MISSING if part.held is None else f"{part.held:,}",
            _needed(part.labelled),
            _number(part.labelled.labels),
            *((_needed(part.by_churn),) if _by_churn(plan) else ()),
            Text(part.state, style=_STYLES[part.state]),
        )
    return Group(table, _below(plan))


def _by_churn(plan: DataPlan) -> bool:
    """Whether a share of changed answers can certify the metric at all."""
    return bool(plan.churn_metric)


def _needed(way: Way) -> str:
    return "impossible" if way.needed is None else f"{way.needed:,}"


def _number(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def _below(plan: DataPlan) -> Text:
    text = Text(style="dim")
    for part in plan.parts:
        for sentence in (*_obstacles(part), *part.advice):
            text.append(f"{part.group}: {sentence}\n")
    for sentence in (plan.basis, *plan.notes):
        text.append(f"{sentence}\n")
    return text


def _obstacles(part: DataPart) -> list[str]:
    told = [("with labels", part.labelled.obstacle), ("by churn", part.by_churn.obstacle)]
    return [f"{way}: {obstacle}" for way, obstacle in told if obstacle]
