"""The tables of a card: costs before and after, quality by group, energy, data, machine."""

from __future__ import annotations

from jettison.domain.certificate import Claim
from jettison.domain.measurement import OVERALL, Estimate
from jettison.domain.run import RunRecord
from jettison.reporting import cells, tables
from jettison.reporting.findings import unit_of
from jettison.reporting.model_card_sources import Sources, claims_with_places, pointer
from jettison.reporting.quantities import plain_name, with_unit
from jettison.statistics import wilson_interval

ENERGY = "energy_j"
NEAR = 1e-6


def before_after(record: RunRecord, sources: Sources) -> tables.Table:
    """Every claim-tier cost of the original and of what ships."""
    columns = (
        tables.Column("Figure", numeric=False),
        tables.Column("Original"),
        tables.Column("This model"),
        tables.Column("Source", numeric=False),
    )
    rows: list[tuple[tables.Cell, ...]] = []
    new = record.claims.get(record.shipped)
    for place, before in enumerate(record.baseline.estimates):
        if not _is_cost(record, before):
            continue
        words = plain_name(before.metric)
        shown = words if before.group == OVERALL else f"{words}, {before.group}"
        after = new.get(before.metric, before.group) if new is not None else None
        places = [pointer("baseline", "estimates", place)]
        if new is not None and after is not None:
            index = new.estimates.index(after)
            places.append(pointer("claims", record.shipped, "estimates", index))
        mark = sources.run("M", shown, *places)
        cell = tables.estimate
        rows.append((tables.Cell(shown), cell(before), cell(after), tables.Cell(mark)))
    return tables.Table("Before and after", columns, tuple(rows))


def _is_cost(record: RunRecord, estimate: Estimate) -> bool:
    """Whether an estimate is a cost, and says more than the one over the serving profile."""
    required = {requirement.metric for requirement in record.configuration.requirements}
    whole = record.baseline.get(estimate.metric)
    same = estimate.group != OVERALL and whole is not None and whole.value == estimate.value
    return not (estimate.metric in required or ":" in estimate.metric or same)


def by_group(record: RunRecord, sources: Sources) -> tables.Table:
    """Each claim: quality of both with intervals, the change, and what it rests on."""
    columns = (
        tables.Column("Group", numeric=False),
        tables.Column("Original"),
        tables.Column("This model"),
        tables.Column("Change"),
        tables.Column("At worst"),
        tables.Column("Drop allowed"),
        tables.Column("Sealed rows"),
        tables.Column("Verdict", numeric=False),
        tables.Column("p, grade"),
        tables.Column("Source", numeric=False),
    )
    rows = tuple(
        (
            tables.Cell(claim.group, claim.metric),
            _value(record, claim, claim.baseline),
            _value(record, claim, claim.candidate),
            tables.Cell(cells.claim_change(record, claim)),
            tables.Cell(cells.claim_worst(record, claim)),
            tables.Cell(cells.claim_margin(record, claim)),
            tables.Cell(f"{claim.n:,}"),
            tables.Cell(cells.claim_words(claim)),
            tables.Cell(f"{tables.claim_p_text(claim)}, {claim.grade}"),
            tables.Cell(sources.claim(claim, place)),
        )
        for claim, place in claims_with_places(record)
    )
    return tables.Table("Quality by group, on sealed rows", columns, rows)


def _value(record: RunRecord, claim: Claim, value: float | None) -> tables.Cell:
    """A metric on the rows of a claim, with its 95 % interval where it is a share of rows."""
    unit = unit_of(record, claim.metric)
    bounds = share_interval(claim, value)
    if bounds is None:
        return tables.Cell(with_unit(value, unit))
    return tables.Cell(
        with_unit(value, unit), f"{with_unit(bounds[0], unit)} to {with_unit(bounds[1], unit)}"
    )


def share_interval(claim: Claim, value: float | None) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a share of rows; `None` for any other kind of metric.

    A claim of grade A whose value is a whole number of its rows is such a share.
    """
    if value is None or claim.grade != "A" or not claim.n:
        return None
    right = round(value * claim.n)
    if not 0 <= right <= claim.n or abs(right - value * claim.n) > NEAR * claim.n:
        return None
    found = wilson_interval(right, claim.n)
    return found.low, found.high


def energy(record: RunRecord, sources: Sources) -> list[tuple[str, object]]:
    """What an answer costs in joules, with the label of the ladder; each with its mark."""
    before, new = record.baseline.get(ENERGY), record.claims.get(record.shipped)
    if before is None or before.value is None:
        return []
    after = new.get(ENERGY) if new is not None else None
    places = [pointer("baseline", "estimates", record.baseline.estimates.index(before))]
    text = f"The original takes {with_unit(before.value, before.unit)} per example"
    if new is not None and after is not None and after.value is not None:
        places.append(pointer("claims", record.shipped, "estimates", new.estimates.index(after)))
        text += f", this model {with_unit(after.value, after.unit)}"
    return [(f"{text}.", sources.run("E", "energy", *places))]


def data(record: RunRecord, sources: Sources) -> tables.Table:
    """Rows by use, and sealed rows by group."""
    columns = (
        tables.Column("Rows", numeric=False),
        tables.Column("How many"),
        tables.Column("Source", numeric=False),
    )
    told = record.data
    uses = {
        "fitting": "fitted on (calibration, ranges)",
        "selection": "looked at by the search",
        "certification": "sealed for certification",
    }
    rows = []
    for use, n in told.rows.items() if told is not None else ():
        mark = sources.run("D", f"rows for {use}", pointer("data", "rows", use))
        rows.append((tables.Cell(uses.get(use, use)), tables.Cell(f"{n:,}"), tables.Cell(mark)))
    for group, n in sorted(told.group_sizes.items()) if told is not None else ():
        mark = sources.run("D", f"sealed rows of {group}", pointer("data", "group_sizes", group))
        cells_of = (tables.Cell(f"sealed, {group}"), tables.Cell(f"{n:,}"), tables.Cell(mark))
        rows.append(cells_of)
    return tables.Table("Rows", columns, tuple(rows))


def facts(record: RunRecord, sources: Sources) -> tables.Table:
    """The machine, the versions and the digests; one mark for all of them."""
    mark = sources.run(
        "F",
        "machine, versions, serving profile",
        "/profile/device",
        "/configuration/serving",
        "/noise_floor",
        "/started",
        "/model/artifact",
        "/data",
        "/certificate/ledger",
    )
    table = tables.facts(record)
    columns = (*table.columns, tables.Column("Source", numeric=False))
    rows = tuple((*row, tables.Cell(mark)) for row in table.rows)
    return tables.Table(table.caption, columns, rows)
