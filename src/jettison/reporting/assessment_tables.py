"""The tables of an assessment: the terminal and the page lay out the same cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jettison.domain.assessment import AssessedModel, Assessment, GroupGap, ImpactRatio
from jettison.domain.measurement import OVERALL, Estimate
from jettison.reporting.quantities import MISSING, change, listed, percent, significant
from jettison.reporting.tables import Cell, Column, Table

MOST_GROUPS = 60
"""Rows of a table of groups on the page; the rest stands in assessment.json."""

MOST_GAPS = 40

_COLUMNS: Mapping[str, tuple[str, str]] = {
    "selection_rate": ("Selected", "selection rate"),
    "base_rate": ("Base rate", "base rate"),
    "true_positive_rate": ("TPR", "TPR"),
    "false_positive_rate": ("FPR", "FPR"),
    "positive_predictive_value": ("PPV", "PPV"),
    "error_rate": ("Wrong", "error rate"),
    "calibration_error": ("Calibration error", "calibration error"),
    "brier_score": ("Brier", "Brier score"),
    "mean_error": ("Mean error", ""),
    "absolute_error": ("Absolute error", ""),
    "mean_prediction": ("Mean answer", ""),
}
"""Figures that have a column, in this order: heading, and word of the glossary."""

_VERDICTS = {"below": "bad", "not below": "good", "undecided": "open"}
_LIMITS = {"held": "good", "broken": "bad", "undecided": "open"}


def title_of(metric: str) -> str:
    """A figure's name for people: «equal opportunity difference»."""
    return metric.replace("_", " ")


def figure_text(value: float | None, unit: str) -> str:
    """A figure: fractions as percentages, means as they are."""
    if value is None:
        return MISSING
    return percent(value) if unit == "fraction" else significant(value)


def range_text(low: float | None, high: float | None, unit: str) -> str:
    """An interval without repeating the unit."""
    if low is None or high is None:
        return ""
    if unit == "fraction":
        return f"{low * 100:.1f} to {high * 100:.1f}"
    return f"{significant(low)} to {significant(high)}"


def own_name(column: str, group: str) -> str:
    """A group's name where its column is known.

    >>> own_name("race & sex", "race=White & sex=Female")
    'White & Female'
    """
    names, values = column.split(" & "), group.split(" & ")
    if len(names) != len(values):
        return group
    return " & ".join(v.removeprefix(f"{n}=") for n, v in zip(names, values, strict=True))


def group_tables(record: Assessment) -> tuple[Table, ...]:
    """For each column of groups, every figure of every group of the leading model."""
    return tuple(_groups(record, column) for column in record.groups)


def _groups(record: Assessment, column: str) -> Table:
    model = record.leading
    known = {e.metric for e in model.estimates}
    shown = [name for name in _COLUMNS if name in known]
    by_place = {(e.metric, e.group): e for e in model.estimates}
    heads = (
        Column(column, numeric=False),
        Column("Rows"),
        *(Column(*_COLUMNS[name]) for name in shown),
    )
    sizes = record.groups[column]
    order = sorted(
        sizes,
        key=lambda group: (
            sizes[group] < record.smallest,
            -_sort_key(by_place, shown, group),
            group,
        ),
    )
    rows = [_group_row(by_place, shown, (OVERALL, record.n), record.smallest)]
    rows += [
        (
            Cell(own_name(column, group)),
            *_group_row(by_place, shown, (group, sizes[group]), record.smallest)[1:],
        )
        for group in order[:MOST_GROUPS]
    ]
    rest = len(order) - MOST_GROUPS
    more = f"; {rest:,} more groups stand in assessment.json" if rest > 0 else ""
    caption = f"Every figure by {column}, with 95 % intervals of each group alone, most errors first{more}"
    return Table(caption, heads, tuple(rows))


def _sort_key(by_place: Mapping[tuple[str, str], Estimate], shown: list[str], group: str) -> float:
    for metric in ("error_rate", "absolute_error", "selection_rate"):
        if metric in shown:
            found = by_place.get((metric, group))
            return -1.0 if found is None or found.value is None else found.value
    return 0.0


def _group_row(
    by_place: Mapping[tuple[str, str], Estimate],
    shown: list[str],
    told: tuple[str, int],
    smallest: int,
) -> tuple[Cell, ...]:
    group, n = told
    note = "too few to compare" if n < smallest else ""
    cells = [Cell(group), Cell(f"{n:,}", note)]
    for metric in shown:
        found = by_place.get((metric, group))
        if found is None or found.value is None:
            cells.append(Cell(MISSING))
            continue
        own = "" if found.n == n else f", n = {found.n:,}"
        note = range_text(found.low, found.high, found.unit) + own
        cells.append(Cell(figure_text(found.value, found.unit), note))
    return tuple(cells)


def gap_table(record: Assessment) -> Table:
    """The largest differences between groups; with two models, before and after."""
    before = record.models[0] if len(record.models) > 1 else None
    heads = [Column("Largest difference", numeric=False), Column("Groups by", numeric=False)]
    heads += [Column("Original")] if before is not None else []
    heads += [Column("Shipped" if before is not None else "Value")]
    heads += [Column("Between", numeric=False), Column("Rows")]
    limited = any(gap.limit is not None for gap in record.leading.gaps)
    heads += [Column("Limit", numeric=False)] if limited else []
    gaps = _ordered(record)
    rows = tuple(_gap_row(gap, before, limited=limited) for gap in gaps[:MOST_GAPS])
    rest = len(gaps) - MOST_GAPS
    more = f"; {rest:,} smaller ones stand in assessment.json" if rest > 0 else ""
    caption = f"How far apart groups are; intervals allow for the pair having been picked{more}"
    return Table(caption, tuple(heads), rows)


def _ordered(record: Assessment) -> list[GroupGap]:
    """Of a model with many classes, the largest first; otherwise column by column."""
    gaps = [gap for gap in record.leading.gaps if gap.value is not None or gap.limit is not None]
    if record.task == "multi-class":
        gaps.sort(key=lambda gap: (gap.limit is None, -(gap.low or 0.0)))
    return gaps


def _gap_row(gap: GroupGap, before: AssessedModel | None, *, limited: bool) -> tuple[Cell, ...]:
    cells = [Cell(title_of(gap.metric)), Cell(gap.column)]
    if before is not None:
        old = next(
            (g for g in before.gaps if (g.metric, g.column) == (gap.metric, gap.column)), None
        )
        cells.append(_value_cell(old))
    cells.append(_value_cell(gap))
    between = f"{gap.highest} and {gap.lowest}" if gap.highest else MISSING
    cells += [Cell(between), Cell(f"{gap.n:,}")]
    if limited:
        verdict = gap.verdict or ""
        text = f"{verdict}: {figure_text(gap.limit, gap.unit)} allowed" if verdict else MISSING
        cells.append(Cell(text, kind=_LIMITS.get(verdict, "")))
    return tuple(cells)


def _value_cell(gap: GroupGap | None) -> Cell:
    if gap is None or gap.value is None:
        return Cell(MISSING)
    return Cell(figure_text(gap.value, gap.unit), range_text(gap.low, gap.high, gap.unit))


def ratio_table(record: Assessment) -> Table:
    """The disparate-impact ratios with their verdicts."""
    heads = (
        Column("Groups by", numeric=False),
        Column("Ratio", "disparate-impact ratio"),
        Column("Verdict", numeric=False),
        Column("Lowest and highest rate", numeric=False),
        Column("Rows"),
    )
    rows = tuple(
        (
            Cell(f"{model.name}: {ratio.column}" if len(record.models) > 1 else ratio.column),
            Cell(f"{ratio.value:.2f}", f"{ratio.low:.2f} to {ratio.high:.2f}"),
            ratio_verdict(ratio, record.smallest),
            Cell(f"{ratio.lowest}; {ratio.highest}"),
            Cell(f"{ratio.n:,}"),
        )
        for model in record.models
        for ratio in model.ratios
    )
    what = f"not being called {record.positive}" if record.adverse else f"being {record.positive}"
    return Table(f"Disparate-impact ratio of {what}: lowest rate over highest", heads, rows)


def ratio_verdict(ratio: ImpactRatio, smallest: int) -> Cell:
    """The verdict, with the groups that it says nothing about; then it acquits nobody."""
    words = f"{ratio.verdict} {ratio.threshold:g}"
    if ratio.verdict == "undecided":
        words = f"undecided at {ratio.threshold:g}"
    if not ratio.left_out:
        return Cell(words, kind=_VERDICTS[ratio.verdict])
    open_ = ratio.verdict == "not below"
    return Cell(
        f"{words}, of those compared",
        f"without {listed(ratio.left_out)}: fewer than {smallest} rows",
        "open" if open_ else _VERDICTS[ratio.verdict],
    )


def change_table(record: Assessment) -> Table:
    """What compression changed in each group, on the same rows."""
    heads = (
        Column("Group", numeric=False),
        Column("Rows"),
        Column("Answers changed"),
        Column("Change in errors"),
    )
    by_place = {(e.metric, e.group): e for e in record.changes}
    groups = list(dict.fromkeys(e.group for e in record.changes))
    rows = tuple(_change_row(by_place, group) for group in groups[: MOST_GROUPS + 1])
    return Table("From the original to what ships, paired row by row; + is worse", heads, rows)


def _change_row(by_place: Mapping[tuple[str, str], Estimate], group: str) -> tuple[Cell, ...]:
    flips = by_place.get(("answers_changed", group))
    error = by_place.get(("error_rate_change", group)) or by_place.get(
        ("absolute_error_change", group)
    )
    n = max((e.n for e in (flips, error) if e is not None), default=0)
    cells = [Cell(group), Cell(f"{n:,}")]
    flipped = Cell(MISSING)
    if flips is not None:
        flipped = Cell(
            figure_text(flips.value, "fraction"), range_text(flips.low, flips.high, "fraction")
        )
    changed = Cell(MISSING)
    if error is not None:
        changed = Cell(
            change(error.value, error.unit), range_text(error.low, error.high, error.unit)
        )
    return (*cells, flipped, changed)


def all_tables(record: Assessment) -> Iterator[tuple[str, Table]]:
    """Every table that has rows, by the name of its place on the page."""
    for number, table in enumerate(group_tables(record)):
        yield f"groups-{number}", table
    for name, table in (
        ("gaps", gap_table(record)),
        ("ratios", ratio_table(record)),
        ("changes", change_table(record)),
    ):
        if table.rows:
            yield name, table
