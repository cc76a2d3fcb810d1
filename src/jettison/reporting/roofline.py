"""The roofline of the original in words and tables: page, `jettison profile`, `jettison doctor`."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from jettison.domain.profile import Profile
from jettison.domain.rates import FLOAT, INTEGER, Rate, Rates
from jettison.domain.run import RunRecord
from jettison.numerics.roofline import Bound, LayerRoof, residence, rooflines, shares_by_bound
from jettison.reporting.quantities import bytes_text, percent, significant
from jettison.reporting.tables import Cell, Column, Table

LAYERS_SHOWN = 12

BOUND_WORDS: Mapping[Bound, str] = {
    "memory": "reading",
    "compute": "computing",
    "neither": "neither",
}


def roofline(record: RunRecord) -> Table:
    """What each layer reaches of what this machine allows, and what would help."""
    columns = (
        Column("Operator", numeric=False),
        Column("Time share"),
        Column("MACs per byte", "arithmetic intensity"),
        Column("Reached"),
        Column("Attainable", "roofline"),
        Column("Bound by", numeric=False),
        Column("What would help", numeric=False),
    )
    profile = record.profile
    rows = tuple(
        (
            Cell(roof.name, roof.operator),
            Cell(percent(roof.time_share)),
            Cell(significant(roof.intensity) if roof.intensity else "0"),
            Cell(percent(roof.reached, 0), rate_text(roof.achieved, _unit(roof))),
            Cell(rate_text(roof.attainable, _unit(roof))),
            Cell(BOUND_WORDS[roof.bound]),
            Cell(advice(roof, profile.rates)),
        )
        for roof in rooflines(profile)[:LAYERS_SHOWN]
    )
    return Table("Operators under the roofline of this machine, the slowest first", columns, rows)


def sentence(profile: Profile) -> str:
    """What bounds the model as a whole, in one or two sentences; empty where it is not known."""
    roofs, level = rooflines(profile), residence(profile)
    if not roofs or level is None or profile.rates is None:
        return ""
    shares = shares_by_bound(roofs)
    known = sum(shares.values())
    weights = bytes_text(sum(layer.bytes for layer in profile.layers))
    batch = "alone" if profile.layer_batch == 1 else f"in batches of {profile.layer_batch}"
    busy = " The machine was busy while its rates were measured, so more is attainable than this."
    return (
        f"With rows {batch}, {percent(shares['compute'])} of the model's time is bound by computing, "
        f"{percent(shares['memory'])} by reading, {percent(shares['neither'])} by neither "
        f"({percent(max(0.0, 1 - known))} is not known). Its weights ({weights}) are read from "
        f"{'memory' if level.name == 'memory' else f'the {level.name} cache'}."
        f"{busy if profile.rates.busy else ''}"
    )


def advice(roof: LayerRoof, rates: Rates | None) -> str:
    """What would make a layer faster, from what bounds it."""
    if roof.bound == "neither":
        return (
            "starting and unpacking take the time: fusion, another runtime, larger batches; fewer "
            "products don't help"
        )
    if roof.bound == "memory":
        if not roof.intensity:
            return "fusion with the product before it: it only moves values"
        return "fewer bytes: 8-bit or 4-bit weights, larger batches"
    ratio = rates.ratio(INTEGER) if rates is not None else None
    integer = "8-bit products" if ratio is None else f"8-bit products ({ratio:.1f}x as fast here)"
    return f"fewer products (channels, rank) or {integer}"


def rate_text(value: float, unit: str) -> str:
    """A rate in billions a second."""
    return f"{significant(value / 1e9)} {unit}"


def _unit(roof: LayerRoof) -> str:
    return "GMAC/s" if roof.intensity else "GB/s"


def layers(profile: Profile) -> RenderableType:
    """The roofline as `jettison profile` shows it; nothing where it is not known."""
    roofs = rooflines(profile)
    if not roofs:
        return Text()
    table = RichTable(
        title="Under the roofline of this machine",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        expand=True,
    )
    table.add_column("operator", overflow="fold", ratio=1)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("MACs/\nbyte", justify="right", no_wrap=True)
    table.add_column("reached", justify="right", no_wrap=True)
    table.add_column("of", justify="right", no_wrap=True)
    table.add_column("bound by", no_wrap=True)
    for roof in roofs[:LAYERS_SHOWN]:
        table.add_row(
            Text(roof.name),
            percent(roof.time_share),
            significant(roof.intensity) if roof.intensity else "0",
            percent(roof.reached, 0),
            rate_text(roof.attainable, _unit(roof)),
            BOUND_WORDS[roof.bound],
        )
    return Group(table, Text(sentence(profile)))


MEANINGS: Mapping[str, str] = {
    FLOAT: "the roof of float models",
    INTEGER: "what int8 can gain at most in products",
    "float16": "half precision is faster only where this exceeds float32",
}


def machine_rows(rates: Rates) -> list[tuple[str, str]]:
    """The measured rates with what each means, as rows of `jettison doctor`."""
    threads = "1 thread" if rates.threads == 1 else f"{rates.threads} threads"
    rows = [
        (
            f"reads from {level.name}",
            f"{_peak(level.rate, 'GB/s')}, {threads}"
            + ("" if level.name == "memory" else f"; holds {bytes_text(level.bytes)}"),
        )
        for level in rates.levels
    ]
    base = rates.products.get(FLOAT)
    for kind, rate in rates.products.items():
        ratio = f", {rate.peak / base.peak:.1f}x float32" if base and kind != FLOAT else ""
        meaning = MEANINGS.get(kind, "")
        rows.append((f"{kind} products", f"{_peak(rate, 'GMAC/s')}, {threads}{ratio}: {meaning}"))
    if rates.note:
        rows.append(("busy" if rates.busy else "note", rates.note))
    return rows


def _peak(rate: Rate, unit: str) -> str:
    return f"{rate_text(rate.peak, unit)} (upper quartile of {rate.n}; median {significant(rate.median / 1e9)})"
