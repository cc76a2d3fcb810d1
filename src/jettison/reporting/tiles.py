"""The few figures at the top of the report: what ships, or what came closest."""

from __future__ import annotations

from dataclasses import dataclass

from jettison.domain.run import RunRecord
from jettison.reporting import cells
from jettison.reporting.comparison import Row, compare
from jettison.reporting.findings import the_cost
from jettison.reporting.quantities import (
    MISSING,
    bytes_text,
    is_time,
    plain_name,
    rows_text,
    sentence,
    times,
    with_unit,
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: what it is, its value, what it rests on, and how it is coloured."""

    label: str
    value: str
    note: str
    kind: str = ""


def tiles(record: RunRecord) -> tuple[Tile, ...]:
    """Gives the figures of what ships; of the candidate that came closest when nothing does."""
    rows = compare(record)
    shipped = next((row for row in rows if row.digest == record.shipped), None)
    if shipped is not None:
        return (*_figures(record, shipped), _certificate(record))
    closest = next((row for row in rows if row.gain is not None), None)
    first = Tile("Ships", "nothing", "Keep the original.", "neutral")
    if closest is None:
        return (
            first,
            Tile("Tried", rows_text(len(record.trials), "recipe"), ""),
            _certificate(record),
        )
    named = Tile("Came closest", closest.title, closest.standing.words, closest.standing.kind)
    return first, named, *_figures(record, closest)[:3], _certificate(record)


def _figures(record: RunRecord, row: Row) -> tuple[Tile, ...]:
    size = () if the_cost(record) == "size_bytes" else (_size(record, row),)
    return (_gain(record, row), *size, _quality(row))


def _gain(record: RunRecord, row: Row) -> Tile:
    cost = the_cost(record)
    label = "Speed" if is_time(cost) else plain_name(cost).capitalize()
    if row.gain is None:
        return Tile(label, MISSING, "not measured")
    value = cells.gain_words(record, row.gain)
    old = record.baseline.get(cost)
    was = "" if old is None else f"; the original: {with_unit(old.value, old.unit)}"
    return Tile(label, value, cells.gain_note(row.gain) + was)


def _size(record: RunRecord, row: Row) -> Tile:
    if row.size_ratio is None:
        return Tile("Size", MISSING, "not saved")
    original = bytes_text(record.model.artifact.size_bytes)
    return Tile("Size", f"{times(row.size_ratio)}", f"{original} → {bytes_text(row.size_bytes)}")


def _quality(row: Row) -> Tile:
    name = row.quality.metric if row.quality is not None else "quality"
    if row.quality is None:
        return Tile("Quality", "not known", "It was not measured: there are no rows to measure on.")
    return Tile(
        f"Change in {name}", cells.quality_cell(row.quality), cells.quality_note(row.quality)
    )


def _certificate(record: RunRecord) -> Tile:
    certificate = record.certificate
    kinds = {"certified": "ships", "failed": "bad", "uncertified": "open"}
    if certificate.status == "certified":
        asked = [claim for claim in certificate.claims if not claim.only_shown]
        held = sum(claim.verdict == "held" for claim in asked)
        note = f"{held} of {len(asked)} claims held"
    else:
        note = sentence(certificate.reason)
    words = {"certified": "certified", "failed": "failed", "uncertified": "NOT certified"}
    return Tile("Certificate", words[certificate.status], note, kinds[certificate.status])
