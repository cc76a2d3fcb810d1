"""Which context compression hurts: the contexts of a run, the worst first, beside the whole."""

from __future__ import annotations

from jettison.domain.certificate import Claim
from jettison.domain.contexts import CONTEXT
from jettison.domain.measurement import OVERALL
from jettison.domain.run import RunRecord
from jettison.reporting import cells
from jettison.reporting.findings import claims_of, unit_of
from jettison.reporting.quantities import with_unit
from jettison.reporting.tables import CLAIM_KINDS, Cell, Column, Table

AS_THEY_CAME = "rows as they came"


def contexts(record: RunRecord) -> Table:
    """Each context with what it does to the original, and what compression does on top of it."""
    columns = (
        Column("Context", numeric=False),
        Column("Original"),
        Column("Smaller model"),
        Column("Change"),
        Column("At worst", "at worst"),
        Column("Verdict", numeric=False),
        Column("Sealed rows", "sealed rows"),
    )
    made = {context.group: context for context in record.configuration.contexts}
    mine = [c for c in claims_of(record) if c.group in made]
    whole = [c for c in claims_of(record) if c.group == OVERALL] if mine else []
    worst_first = sorted(mine, key=lambda claim: (claim.metric, -(claim.estimate or 0.0)))
    rows = tuple(_row(record, claim) for claim in (*worst_first, *whole))
    return Table("What compression does in each context, the worst first", columns, rows)


def _row(record: RunRecord, claim: Claim) -> tuple[Cell, ...]:
    unit = unit_of(record, claim.metric)
    return (
        Cell(_name(claim.group), f"{claim.metric}{_how(record, claim.group)}"),
        Cell(with_unit(claim.baseline, unit)),
        Cell(with_unit(claim.candidate, unit)),
        Cell(cells.claim_change(record, claim)),
        Cell(cells.claim_worst(record, claim)),
        Cell(cells.claim_words(claim), claim.reason, CLAIM_KINDS[claim.verdict]),
        Cell(f"{claim.n:,}"),
    )


def _name(group: str) -> str:
    return AS_THEY_CAME if group == OVERALL else group.removeprefix(f"{CONTEXT}=")


def _how(record: RunRecord, group: str) -> str:
    found = next((c for c in record.configuration.contexts if c.group == group), None)
    if found is None:
        return ""
    told = ", ".join(f"{key} {value}" for key, value in sorted(found.settings.items()))
    return f"; {found.transform}{f' ({told})' if told else ''}"
