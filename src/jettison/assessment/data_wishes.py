"""From what a person typed (a run, a configuration, or margins alone) to plans of data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jettison import config, registry
from jettison.assessment import mean_plan
from jettison.assessment.data_plan import ASSUMED, Expected, Held, plan_data
from jettison.assessment.expectations import basis_of, expected_of
from jettison.assessment.held_rows import held_rows
from jettison.assessment.search_rows import RUN, SearchRows, read_record, search_rows
from jettison.config.requirements import DEFAULT_MAX_DROP, GROUP_FACTOR
from jettison.domain.certificate import Requirement
from jettison.domain.configuration import DataSection
from jettison.domain.data_plan import DataPlan
from jettison.domain.measurement import OVERALL
from jettison.domain.run import RunRecord
from jettison.errors import UsageError
from jettison.trust.planning import TYPICAL_DISAGREEMENT

LABELLED, WITHOUT = "accuracy", "agreement"
"""The metrics that are planned for where nothing else is asked: with labels, and without."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Options of the command; empty or `None` means: not given."""

    data: str = ""
    certification: str = ""
    groups: tuple[str, ...] = ()
    unit: str = ""
    metric: str = ""
    max_drop: float | None = None
    max_drop_group: float | None = None
    confidence: float | None = None
    disagreement: float | None = None
    churn: float | None = None
    drop: float = 0.0


def plans(source: Path | None, wishes: Wishes) -> tuple[DataPlan, ...]:
    """One plan for each requirement that rows are planned for.

    Args:
        source: folder of a run, a .toml file, or `None`.
        wishes: what was typed; it wins over the source.

    Raises:
        UsageError: for a margin or share that can't be, or a metric that rows aren't planned for.
        DataError: if a file can't be read.
    """
    _check(wishes)
    record, section, asked = _source(source)
    section = _section(section, wishes)
    rows = search_rows(source) if record is not None and source is not None else None
    held = _held(record, section, wishes)
    return tuple(_plan(one, held, rows, wishes) for one in _requirements(asked, wishes))


def _source(
    source: Path | None,
) -> tuple[RunRecord | None, DataSection, tuple[Requirement, ...]]:
    if source is None:
        return None, DataSection(), ()
    if source.is_dir():
        record = read_record(source)
        return record, record.configuration.data, record.configuration.requirements
    if source.suffix == ".toml":
        configuration = config.read_configuration(source, registry.all_names())
        return None, configuration.data, configuration.requirements
    raise UsageError(
        f"{source} is neither the folder of a run (with {RUN}) nor a .toml file; give one of the "
        "two, or only options such as --max-drop"
    )


def _section(section: DataSection, wishes: Wishes) -> DataSection:
    if wishes.data and wishes.certification:
        raise UsageError("--data and --certification exclude each other: give one of the two")
    if wishes.data or wishes.certification:
        section = dataclasses.replace(
            section, source=wishes.data, certification=wishes.certification
        )
    return dataclasses.replace(
        section, groups=wishes.groups or section.groups, unit=wishes.unit or section.unit
    )


def _held(record: RunRecord | None, section: DataSection, wishes: Wishes) -> Held:
    given = wishes.data or wishes.certification or wishes.groups or wishes.unit
    if record is None or record.data is None or given:
        return held_rows(section)
    note = "Held: the rows that the run sealed; they can be looked at once."
    counted = held_rows(section).counted if section.unit else "rows"
    if counted == "units":
        return held_rows(section)
    return Held(record.data.rows["certification"], record.data.group_sizes, "rows", note)


def _requirements(asked: tuple[Requirement, ...], wishes: Wishes) -> tuple[Requirement, ...]:
    relative = next((r for r in asked if r.max_drop_relative and not r.max_drop), None)
    if relative is not None and wishes.max_drop is None:
        raise UsageError(
            f"the margin of `{relative.metric}` is relative (max_drop_relative), and the original's "
            "value is not known here; give the margin as --max-drop"
        )
    chosen = [r for r in asked if _plannable(r.metric or LABELLED)]
    if asked and not chosen and not wishes.metric:
        raise UsageError(_not_planned(asked[0].metric))
    if wishes.metric or not asked:
        chosen = [r for r in asked if r.metric == wishes.metric] or [
            Requirement(
                wishes.metric or LABELLED, DEFAULT_MAX_DROP, GROUP_FACTOR * DEFAULT_MAX_DROP
            )
        ]
    return tuple(_changed(r, wishes) for r in chosen)


def _changed(requirement: Requirement, wishes: Wishes) -> Requirement:
    whole = requirement.max_drop if wishes.max_drop is None else wishes.max_drop
    group = requirement.max_drop_group
    if wishes.max_drop_group is not None:
        group = wishes.max_drop_group
    elif wishes.max_drop is not None:
        group = GROUP_FACTOR * wishes.max_drop
    return dataclasses.replace(
        requirement,
        metric=requirement.metric or LABELLED,
        max_drop=whole,
        max_drop_group=group,
        confidence=requirement.confidence if wishes.confidence is None else wishes.confidence,
    )


def _plannable(metric: str) -> bool:
    return registry.get("metrics", metric).kind in ("binary", *mean_plan.KINDS)


def _not_planned(metric: str) -> str:
    return (
        f"`{metric}` is not 0 or 1 per row; rows are planned for metrics that are (accuracy, "
        "agreement, any win or loss), and for `wer`, `f1` and `auc`"
    )


def _plan(
    requirement: Requirement, held: Held, rows: SearchRows | None, wishes: Wishes
) -> DataPlan:
    if not _plannable(requirement.metric):
        raise UsageError(_not_planned(requirement.metric))
    metric = registry.get("metrics", requirement.metric)
    binary = metric.kind == "binary"
    given = wishes.disagreement is not None or wishes.churn is not None
    if binary and rows is not None and not given:
        seen = expected_of(rows, requirement.metric)
        expected: Mapping[str, Expected] = {n: _dropping(e, wishes.drop) for n, e in seen.items()}
        told = f" The true drop is {wishes.drop:.2%}, as you said." if wishes.drop else ""
        return plan_data(requirement, held, expected, basis_of(rows) + told, WITHOUT)
    assumed = TYPICAL_DISAGREEMENT if wishes.disagreement is None else wishes.disagreement
    assumed = max(assumed if wishes.churn is None else min(assumed, wishes.churn), wishes.drop)
    churn = assumed if wishes.churn is None else wishes.churn
    basis = ASSUMED
    if given or wishes.drop:
        head = "As you said" if given else "As is usual, with the drop that you said"
        basis = (
            f"{head}: exactly one model is right on {assumed:.2%} of rows, they differ on "
            f"{churn:.2%}, and the true drop is {wishes.drop:.2%}."
        )
    expected_now = Expected(assumed, churn, wishes.drop)
    if not binary:
        return mean_plan.plan_means(metric, requirement, held, expected_now, basis)
    return plan_data(requirement, held, {OVERALL: expected_now}, basis, WITHOUT)


def _dropping(seen: Expected, drop: float) -> Expected:
    """The same with another true drop; 0 leaves what was seen. Rows that drop differ."""
    if not drop:
        return seen
    return dataclasses.replace(
        seen, drop=drop, disagreement=max(seen.disagreement, drop), churn=max(seen.churn, drop)
    )


def _check(wishes: Wishes) -> None:
    problems = []
    for name in ("max_drop", "max_drop_group"):
        value = getattr(wishes, name)
        if value is not None and not 0.0 < value < 1.0:
            problems.append(f"--{name.replace('_', '-')} must lie between 0 and 1; got {value:g}")
    for name in ("disagreement", "churn", "drop"):
        value = getattr(wishes, name)
        if value is not None and not 0.0 <= value < 1.0:
            problems.append(f"--{name} must be from 0 to below 1; got {value:g}")
    if wishes.confidence is not None and not 0.5 <= wishes.confidence <= 0.9999:
        problems.append(f"--confidence must be from 0.5 to 0.9999; got {wishes.confidence:g}")
    churn, disagreement = wishes.churn, wishes.disagreement
    if disagreement is not None and churn is not None and churn < disagreement:
        problems.append(
            f"--churn ({churn:g}) can't be below --disagreement ({disagreement:g}): rows that one "
            "model alone gets right differ"
        )
    for name, share in (("disagreement", disagreement), ("churn", churn)):
        if share is not None and wishes.drop > share:
            problems.append(
                f"--drop ({wishes.drop:g}) can't be above --{name} ({share:g}): a drop is made of "
                "rows on which the models differ"
            )
    if problems:
        raise UsageError("; ".join(problems))
