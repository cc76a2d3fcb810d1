"""The tables of the report as text: the page and the card lay out the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jettison.domain.certificate import Claim
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.run import RunRecord
from jettison.reporting import cells
from jettison.reporting.comparison import Row, compare, every_trial
from jettison.reporting.findings import (
    best_gain_with,
    claims_of,
    the_cost,
    unit_of,
)
from jettison.reporting.quantities import (
    MISSING,
    bytes_text,
    interval,
    is_time,
    percent,
    plain_name,
    significant,
    times,
    with_unit,
)

LAYERS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, a smaller second line, and how its verdict is coloured."""

    text: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, the glossary word behind it, and whether it holds numbers."""

    heading: str
    term: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what it shows, its columns, and its rows of cells."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def comparison(record: RunRecord) -> Table:
    """What was tried: the best of each kind with each fate, and every finalist."""
    return _of_rows(record, "What was tried on this model, on this machine", compare(record))


def trials(record: RunRecord) -> Table:
    """Every single trial, in the order tried."""
    return _of_rows(record, "Every trial, in the order tried", every_trial(record))


def _of_rows(record: RunRecord, caption: str, rows: Sequence[Row]) -> Table:
    faster = cells.gain_heading(record)
    columns = (
        Column("Technique", numeric=False),
        Column("Verdict", numeric=False),
        Column("Could gain at most", "predicted"),
        Column(f"Measured: times {faster}", "gain"),
        Column("Size, of the original's"),
        Column("Change in quality"),
        Column("Cost to get", "cost to get"),
    )
    return Table(caption, columns, tuple(_row(row) for row in rows))


def _row(row: Row) -> tuple[Cell, ...]:
    faster, smaller = MISSING, ""
    if row.predicted is not None:
        faster = f"{times(row.predicted.speedup)} faster"
        smaller = f"{times(row.predicted.size_ratio)} the size"
    return (
        Cell(row.title, row.recipe),
        Cell(cells.verdict_cell(row), row.standing.detail, row.standing.kind),
        Cell(faster, smaller),
        Cell(cells.gain_cell(row.gain), cells.gain_note(row.gain)),
        Cell(cells.size_cell(row), cells.size_note(row)),
        Cell(cells.quality_cell(row.quality), cells.quality_note(row.quality)),
        Cell(cells.cost_cell(row)),
    )


def claims(record: RunRecord) -> Table:
    """Each claim with what it rests on."""
    columns = (
        Column("Group", numeric=False),
        Column("Verdict", numeric=False),
        Column("Change"),
        Column("At worst", "at worst"),
        Column("Drop allowed", "margin"),
        Column("Sealed rows", "sealed rows"),
        Column("Rows needed", "rows needed"),
        Column("p, grade", "grade"),
    )
    return Table(
        "Claims on sealed rows",
        columns,
        tuple(_claim(record, claim) for claim in claims_of(record)),
    )


SMALL_P = 0.05
CLAIM_KINDS = {"held": "good", "broken": "bad", "undecided": "open"}


def _claim(record: RunRecord, claim: Claim) -> tuple[Cell, ...]:
    unit = unit_of(record, claim.metric)
    before, after = with_unit(claim.baseline, unit), with_unit(claim.candidate, unit)
    return (
        Cell(claim.group, claim.metric),
        Cell(cells.claim_words(claim), claim.reason, CLAIM_KINDS[claim.verdict]),
        Cell(cells.claim_change(record, claim), f"{before} → {after}"),
        Cell(cells.claim_worst(record, claim)),
        Cell(cells.claim_margin(record, claim)),
        Cell(f"{claim.n:,}"),
        Cell(cells.claim_rows(claim)),
        Cell(f"{claim_p_text(claim)}, {claim.grade}", claim.method),
    )


def claim_p_text(claim: Claim) -> str:
    """The p-value of a claim; a dash where its test does not apply (too few rows for it).

    A small p-value beside «undecided» would read as evidence, and is none below the floor.
    """
    applies = claim.verdict != "undecided" or claim.bound is None or claim.bound < claim.margin
    small = claim.p_value is not None and claim.p_value < SMALL_P
    return MISSING if small and not applies else p_text(claim.p_value)


def p_text(value: float | None) -> str:
    """Writes a p-value.

    >>> p_text(0.00001), p_text(0.031), p_text(None)
    ('< 0.0001', '0.0310', '–')
    """
    if value is None:
        return MISSING
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def variants(record: RunRecord) -> tuple[tuple[str, Measurement], ...]:
    """The original and every recipe with claim-tier figures, what ships first after it.

    Claims of no recipe (the original again, its second copy) are left out.
    """
    titles = {row.digest: row.title for row in every_trial(record)}
    found = [(digest, m) for digest, m in record.claims.items() if digest in titles]
    found.sort(key=lambda item: item[0] != record.shipped)
    return ("original", record.baseline), *((titles[digest], m) for digest, m in found)


def curve(record: RunRecord) -> Table:
    """The cost per example at each batch size of the serving profile, and over all."""
    cost = the_cost(record)
    sizes = record.configuration.serving.batch_sizes
    columns = (
        Column("Variant", numeric=False),
        *(Column(f"Batch of {size}") for size in sizes),
        Column("Over the serving profile", "serving profile"),
    )
    groups = [*(f"batch={size}" for size in sizes), OVERALL]
    rows = tuple(
        (Cell(name), *(estimate(measurement.get(cost, group)) for group in groups))
        for name, measurement in variants(record)
    )
    return Table(f"{plain_name(cost).capitalize()} per example", columns, rows)


def costs(record: RunRecord) -> Table:
    """Every cost that was measured at claim tier, over the serving profile."""
    found = variants(record)
    names = dict.fromkeys(
        e.metric
        for _, m in found
        for e in m.estimates
        if e.group == OVERALL and ":" not in e.metric
    )
    quality = {requirement.metric for requirement in record.configuration.requirements}
    columns = (Column("Figure", numeric=False), *(Column(name) for name, _ in found))
    rows = tuple(
        (Cell(name.replace("_", " ")), *(estimate(m.get(name)) for _, m in found))
        for name in names
        if name not in quality
    )
    return Table("Every cost, original and finalists", columns, rows)


def estimate(found: Estimate | None) -> Cell:
    """A value in its unit, with its interval and n."""
    if found is None or found.value is None:
        return Cell(MISSING)
    shown = interval(found)
    state = ", noisy" if found.state == "noisy" else ""
    note = f"{shown}, n = {found.n:,}" if shown and shown != "exact" else shown
    return Cell(with_unit(found.value, found.unit) + state, note)


def stages(record: RunRecord) -> Table:
    """Where the time of one answer goes."""
    columns = (Column("Stage", numeric=False), Column("Per example"), Column("Share"))
    rows = tuple(
        (Cell(s.name), Cell(with_unit(s.milliseconds, "ms")), Cell(percent(s.share)))
        for s in record.profile.stages
    )
    return Table("Time of one answer of the original", columns, rows)


def layers(record: RunRecord) -> Table:
    """The costliest operators of the original."""
    columns = (
        Column("Operator", numeric=False),
        Column("Time share"),
        Column("Bytes"),
        Column("Parameters"),
        Column("MACs", "MACs"),
    )
    ordered = sorted(
        record.profile.layers, key=lambda layer: (-(layer.time_share or 0.0), -layer.bytes)
    )
    rows = tuple(
        (
            Cell(layer.name, layer.operator),
            Cell(percent(layer.time_share)),
            Cell(bytes_text(layer.bytes)),
            Cell(f"{layer.parameters:,}"),
            Cell(MISSING if layer.macs is None else f"{layer.macs:,}"),
        )
        for layer in ordered[:LAYERS_SHOWN]
    )
    shown, whole = len(rows), len(record.profile.layers)
    caption = "Operators of the original, the slowest first"
    return Table(f"{caption} ({shown} of {whole})" if whole > shown else caption, columns, rows)


def predictions(record: RunRecord) -> Table:
    """The prediction for each technique beside the best that was measured with it."""
    columns = (
        Column("Technique", numeric=False),
        Column("Could gain at most", "predicted"),
        Column("Best measured", "gain"),
        Column("Smallest size"),
        Column("Why at most that", numeric=False),
    )
    return Table("Predictions beside measurements", columns, tuple(_predictions(record)))


def _predictions(record: RunRecord) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    original = record.model.artifact.size_bytes
    for item in record.space.advice:
        best = best_gain_with(record, item.technique)
        sizes = [
            trial.candidate.model.artifact.size_bytes
            for trial in record.trials
            if trial.candidate is not None
            and item.technique in {step.name for step in trial.recipe.steps}
        ]
        smallest = times(min(sizes) / original) if sizes and original else MISSING
        rows.append(
            (
                Cell(item.technique),
                Cell(
                    f"{times(item.potential.speedup)} faster",
                    f"{times(item.potential.size_ratio)} the size",
                ),
                Cell(cells.gain_cell(best), cells.gain_note(best)),
                Cell(smallest),
                Cell(item.potential.reason),
            )
        )
    return rows


def refusals(record: RunRecord) -> Table:
    """What was not tried, and why."""
    columns = (Column("Not tried", numeric=False), Column("Why", numeric=False))
    rows = tuple((Cell(r.name), Cell(r.reason)) for r in record.space.refused)
    return Table("What was refused, and why", columns, rows)


def groups(record: RunRecord) -> Table:
    """Sealed rows per group."""
    columns = (Column("Group", numeric=False), Column("Sealed rows", "sealed rows"))
    sizes = record.data.group_sizes if record.data is not None else {}
    rows = tuple((Cell(name), Cell(f"{sizes[name]:,}")) for name in sorted(sizes))
    return Table("Sealed rows per group", columns, rows)


def facts(record: RunRecord) -> Table:
    """The machine, the versions, and the digests that everything hangs on."""
    device, certificate = record.profile.device, record.certificate
    rows = [
        ("Processor", f"{device.cpu}, {device.cores} cores to use", device.cpu_class),
        ("Memory", bytes_text(device.memory_bytes), device.system),
        ("Served with", _serving(record), ""),
        ("Noise floor", percent(record.noise_floor), "two copies of the original compared"),
        ("Started", record.started, ""),
        ("Original", bytes_text(record.model.artifact.size_bytes), record.model.artifact.digest),
    ]
    rows.extend((name, version, "") for name, version in sorted(device.versions.items()))
    if record.data is not None:
        used = ", ".join(f"{n:,} {use}" for use, n in record.data.rows.items())
        rows.append(("Data", record.data.source, record.data.digest))
        rows.append(("Rows", used, f"{record.data.duplicates:,} exact copies dropped"))
    if certificate.ledger is not None:
        place = certificate.ledger
        spent = f"look {place.look} at these rows, error rate {significant(place.alpha)}"
        rows.append(("Ledger", spent, f"{place.ledger}, entry {place.entry}"))
    columns = (Column("What", numeric=False), Column("Value", numeric=False))
    cells_of = tuple((Cell(what), Cell(value, note)) for what, value, note in rows)
    return Table("Machine, versions and data", columns, cells_of)


def _serving(record: RunRecord) -> str:
    serving = record.configuration.serving
    sizes = ", ".join(
        f"{size} ({percent(weight, 0)} of rows)"
        for size, weight in zip(serving.batch_sizes, serving.weights, strict=True)
    )
    threads = "1 thread" if serving.threads == 1 else f"{serving.threads} threads"
    return f"batches of {sizes}; {threads}; spinning {'on' if serving.spinning else 'off'}"


def gain_axis(record: RunRecord) -> str:
    """The title of an axis of gains."""
    cost = the_cost(record)
    return "times faster" if is_time(cost) else f"times less {plain_name(cost)}"
