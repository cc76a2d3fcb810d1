"""What `jettison assess` shows in the terminal: the worst finding first, then the tables."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text

from jettison.domain.assessment import Assessment
from jettison.reporting.assessment_tables import (
    change_table,
    gap_table,
    group_tables,
    ratio_table,
)
from jettison.reporting.tables import Table

_STYLE = {"bad": "yellow", "good": "green", "open": "cyan"}
SHOWN = 25
"""Rows of a table in the terminal."""

LEFT_OUT = ("Calibration error", "Brier", "Base rate")
"""Columns that stand on the page only: a terminal is narrow."""


def assessment_summary(record: Assessment) -> RenderableType:
    """The whole assessment, for a terminal."""
    parts: list[RenderableType] = [
        Panel(
            Text(record.answer),
            title=Text(f"{record.subject}: {record.rows_from}"),
            title_align="left",
            border_style="bold yellow" if record.leading.findings else "bold",
        )
    ]
    others = [f.sentence for f in record.leading.findings if f.sentence not in record.answer]
    parts += [Text(f"also: {sentence}") for sentence in others[:5]]
    tables = (
        ratio_table(record),
        *(table for table in group_tables(record)),
        gap_table(record),
        change_table(record),
    )
    parts += [_laid_out(table) for table in tables if table.rows]
    parts += [Text(one.sentence) for one in record.leading.conflicts if one.shown]
    parts += [Text(f"? {question.sentence}", style="cyan") for question in record.questions]
    parts += [Text(note, style="dim") for note in record.notes]
    return Group(*parts)


def _laid_out(table: Table) -> RenderableType:
    """A table with the second line of each cell below its first."""
    kept = [i for i, column in enumerate(table.columns) if column.heading not in LEFT_OUT]
    laid = RichTable(
        title=Text(table.caption, style="italic"),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    for i in kept:
        column = table.columns[i]
        laid.add_column(
            Text(column.heading),
            justify="right" if column.numeric else "left",
            overflow="fold",
        )
    for row in table.rows[:SHOWN]:
        laid.add_row(*(_cell(row[i].text, row[i].note, row[i].kind) for i in kept))
    if len(table.rows) > SHOWN:
        laid.caption = f"{len(table.rows) - SHOWN:,} more rows stand on the page"
    return laid


def _cell(text: str, note: str, kind: str) -> Text:
    made = Text(text, style=_STYLE.get(kind, ""))
    if note:
        # A narrow column keeps interval and rows apart.
        made.append("\n" + note.replace(", n = ", "\nn = "), style="dim")
    return made
