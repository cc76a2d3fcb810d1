"""Exemplars and slices in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from jettison.domain.found import Found

SHOWN = 10
PROPOSALS = (
    "These are proposals: the search saw these rows. Each slice was proposed on one half of them "
    "and counted on the other; p is corrected for the number proposed. Only the next sealed rows "
    "certify a slice."
)


def found_parts(found: Found, config_lines: str) -> tuple[RenderableType, ...]:
    """The answer, the surest rows that changed, the slices, and what certifies them."""
    if not found.slices:
        nothing = "No slice with more harm was found; with few changed rows that says little."
        return Text(_answer(found)), _exemplars(found), Text(nothing, style="dim")
    return (
        Text(_answer(found)),
        _exemplars(found),
        _slices(found),
        Text(PROPOSALS, style="dim"),
        Text(config_lines or "No slice can be told from data alone.", style="dim"),
    )


def _answer(found: Found) -> str:
    changed = len(found.exemplars)
    text = (
        f"{found.recipe} changes the answer of {changed} of {found.n:,} selection rows "
        f"({found.share:.2%}, 95 % interval {found.low:.2%} to {found.high:.2%})."
    )
    if found.lost is not None:
        text += f" It loses {found.lost} that the original gets right, and gains {found.gained}."
    return text


def _exemplars(found: Found) -> Table:
    table = _table(f"Rows whose answer changed (the surest {SHOWN}), of {found.location}")
    for heading in ("row", "original", "candidate", "right", "sure"):
        table.add_column(heading, overflow="fold")
    for one in found.exemplars[:SHOWN]:
        sure = "–" if one.sure is None else f"{one.sure:.0%}"
        cells = (str(one.row), one.before, one.after, one.truth or "–", sure)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _slices(found: Found) -> Table:
    table = _table(f"Slices with more harm: {found.harm}")
    table.add_column("slice", overflow="fold", ratio=1)
    for heading in ("harmed", "share", "95 %", "elsewhere", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.slices:
        table.add_row(
            Text(f"{one.name}: {one}"),
            f"{one.harmed}/{one.n}",
            f"{one.share:.1%}",
            f"{one.low:.1%}–{one.high:.1%}",
            f"{one.elsewhere:.1%}",
            f"{one.p_value:.2g}",
        )
    return table


def _table(title: str) -> Table:
    """Words of data are texts, so that `[/INST]` is no markup."""
    told = Text(title, style="italic")
    return Table(title=told, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), expand=True)
