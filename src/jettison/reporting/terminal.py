"""What the terminal shows: the answer, the comparison, the plan of the certification, the times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from jettison.domain.run import Outcome, RunRecord
from jettison.reporting import cells
from jettison.reporting.comparison import Row, compare
from jettison.reporting.findings import claims_of
from jettison.reporting.quantities import MISSING, margin_text, seconds_text, times
from jettison.reporting.serving_cells import turns
from jettison.reporting.standing import Kind

OUTCOME_WORDS: Mapping[Outcome, str] = {
    "improved": "certified improvement",
    "nothing_better": "nothing beat the original",
    "undecided": "could not be decided",
    "interrupted": "interrupted",
}
_OUTCOME_STYLE: Mapping[Outcome, str] = {
    "improved": "bold green",
    "nothing_better": "bold yellow",
    "undecided": "bold cyan",
    "interrupted": "bold cyan",
}
_KIND_STYLE: Mapping[Kind, str] = {
    "ships": "bold green",
    "good": "green",
    "bad": "yellow",
    "open": "cyan",
    "neutral": "dim",
    "error": "red",
}
_VERDICT_STYLE = {"held": "green", "broken": "yellow", "undecided": "cyan"}


class PlannedPart(Protocol):
    """One line of the certification plan, known before the seal opens.

    `needed` is about how many sealed rows (or units) pass with a chance of 80 %, `None` where no
    number does; `obstacle` says why it can't pass, empty when it can.
    """

    @property
    def metric(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def margin(self) -> float: ...
    @property
    def gates(self) -> bool: ...
    @property
    def held(self) -> int: ...
    @property
    def needed(self) -> int | None: ...
    @property
    def obstacle(self) -> str: ...


def summary(record: RunRecord) -> RenderableType:
    """Everything a person sees at the end of a run."""
    parts: list[RenderableType] = [answer(record), Text(), comparison_table(record)]
    if claims_of(record):
        parts.extend((Text(), claims_table(record)))
    parts.extend(Text(turn) for turn in turns(record))
    parts.append(stage_times(record.stage_seconds))
    return Group(*parts)


def answer(record: RunRecord) -> RenderableType:
    """The answer in one sentence, and what to do next."""
    body = Text(record.answer)
    if record.next_step:
        body.append(f"\nNext: {record.next_step}", style="dim")
    return Panel(
        body,
        title=Text(OUTCOME_WORDS[record.outcome]),
        title_align="left",
        border_style=_OUTCOME_STYLE[record.outcome],
    )


def comparison_table(record: RunRecord) -> RenderableType:
    """The comparison for this model; whole sentences stand below it, not in narrow columns."""
    rows = compare(record)
    if not rows:
        return Text("No candidate was tried.")
    table = _table("Tried on this model and machine")
    table.add_column("#", justify="right", style="dim")
    table.add_column("technique", ratio=1, min_width=18, overflow="fold")
    table.add_column("at\nmost", justify="right", no_wrap=True)
    table.add_column(f"measured\n{cells.gain_heading(record)}", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("quality\nchange", justify="right", no_wrap=True)
    table.add_column("cost\nto get", justify="right", no_wrap=True)
    table.add_column("verdict", min_width=15, max_width=18)
    for place, row in enumerate(rows, start=1):
        table.add_row(
            str(place),
            Text(row.title),
            _predicted(row),
            _two(cells.gain_cell(row.gain), _gain_range(row)),
            _two(cells.size_cell(row), cells.size_note(row)),
            _two(_short(cells.quality_cell(row.quality)), _quality_basis(row)),
            f"{row.seconds:.0f} s",
            Text(cells.verdict_cell(row), style=_KIND_STYLE[row.standing.kind]),
        )
    return Group(table, Padding(_footnotes(rows), (0, 0, 0, 1)))


def claims_table(record: RunRecord) -> RenderableType:
    """The claims of the certificate; groups that do not gate are named too."""
    claims = claims_of(record)
    metrics = sorted({claim.metric for claim in claims})
    table = _table(f"Certificate: {', '.join(metrics)} on sealed rows")
    table.add_column("group", overflow="fold", ratio=1)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    table.add_column("at worst", justify="right", no_wrap=True)
    table.add_column("allowed", justify="right", no_wrap=True)
    table.add_column("verdict", max_width=24)
    for claim in claims:
        needed = f"; {cells.claim_rows(claim)} rows needed" if claim.rows_needed else ""
        table.add_row(
            Text(claim.group if len(metrics) == 1 else f"{claim.metric}: {claim.group}"),
            f"{claim.n:,}",
            _short(cells.claim_change(record, claim)),
            _short(cells.claim_worst(record, claim)),
            _short(f"−{cells.claim_margin(record, claim)}"),
            Text(
                f"{cells.claim_words(claim)}{needed} [{claim.grade}]",
                style=_VERDICT_STYLE[claim.verdict],
            ),
        )
    return table


def certification_plan(parts: Iterable[PlannedPart]) -> RenderableType:
    """Rows needed and held per group, printed before the seal opens; obstacles stand below."""
    planned = tuple(parts)
    metrics = sorted({part.metric for part in planned})
    table = _table(f"Certification plan: {', '.join(metrics)} on sealed rows")
    table.add_column("group", overflow="fold", ratio=1)
    table.add_column("drop allowed", justify="right", no_wrap=True)
    table.add_column("needed", justify="right", no_wrap=True)
    table.add_column("held", justify="right", no_wrap=True)
    table.add_column("", max_width=30)
    obstacles = Text(style="dim")
    for part in planned:
        words, style = _chance(part)
        table.add_row(
            Text(part.group if len(metrics) == 1 else f"{part.metric}: {part.group}"),
            margin_text(part.margin, part.unit),
            MISSING if part.needed is None else f"about {part.needed:,}",
            f"{part.held:,}",
            Text(words if part.gates else f"{words}, does not gate", style=style),
        )
        if part.obstacle and part.gates:
            obstacles.append(f"{part.group}: {part.obstacle}\n")
    return Group(table, obstacles) if obstacles.plain else table


def _chance(part: PlannedPart) -> tuple[str, str]:
    if part.obstacle:
        return "can't pass", "yellow" if part.gates else "dim"
    if part.needed is not None and part.held >= part.needed:
        return "enough", "green"
    return "may not be enough", "cyan" if part.gates else "dim"


def stage_times(seconds: Mapping[str, float]) -> RenderableType:
    """How long each stage took, in one line that wraps."""
    whole = sum(seconds.values())
    parts = [f"{name} {seconds_text(value)}" for name, value in seconds.items()]
    return Text(f"Time: {', '.join(parts)}; together {seconds_text(whole)}.", style="dim")


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        expand=True,
    )


def _short(text: str) -> str:
    return text.replace(" points", " pt").replace(" point", " pt")


def _two(first: str, second: str) -> Text:
    text = Text(first)
    if second:
        text.append(f"\n{second}", style="dim")
    return text


def _predicted(row: Row) -> str:
    return times(row.predicted.speedup) if row.predicted is not None else MISSING


def _gain_range(row: Row) -> str:
    if row.gain is None:
        return ""
    estimate = row.gain.estimate
    if row.gain.tier == "claim" and estimate.state == "noisy":
        return "noisy"
    if row.gain.tier == "ranking" or estimate.low is None or estimate.high is None:
        return "ranking" if row.gain.tier == "ranking" else ""
    return f"{estimate.low:.2f}–{estimate.high:.2f}"


def _quality_basis(row: Row) -> str:
    return row.quality.rows if row.quality is not None else ""


def _footnotes(rows: tuple[Row, ...]) -> Text:
    """The sentences behind the verdicts, and how to read what is marked."""
    text = Text(style="dim")
    for place, row in enumerate(rows, start=1):
        if row.standing.detail:
            text.append(f"{place}: {row.standing.detail}\n")
    if any(row.gain is not None and row.gain.tier == "ranking" for row in rows):
        text.append(f"(…) ranking: {cells.RANKING_ONLY}. ")
    if any(row.gain is not None and row.gain.estimate.state == "noisy" for row in rows):
        text.append(f"(…) noisy: {cells.NOISY}. ")
    text.append("pt: percentage points, + is better. sealed: certified; selection: no claim.")
    return text
