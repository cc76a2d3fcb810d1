"""What is installed and what works here, for `jettison list` and `jettison doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jettison.domain.catalogue import Listed
from jettison.domain.device import Device

FEATURES = {
    "avx2": "256-bit vectors: 8-bit products run, but add up in 16 bits and may saturate",
    "avx512f": "512-bit vectors",
    "avx512_vnni": "8-bit dot products that don't saturate; int8 gains most here",
    "avx_vnni": "8-bit dot products that don't saturate; int8 gains most here",
    "amx_int8": "matrix units for 8-bit products",
    "amx_bf16": "matrix units for bfloat16",
    "asimddp": "8-bit dot products that don't saturate",
    "i8mm": "8-bit matrix products",
}
"""Instruction set -> what it means for a compressed model."""


def overview(packages: Mapping[str, Mapping[str, str]]) -> RenderableType:
    """Every family with its members; nothing was imported to know them."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("family")
    table.add_column("installed", overflow="fold")
    for family, members in packages.items():
        shown = [n if p == "jettison" else f"{n} ({p})" for n, p in members.items()]
        table.add_row(family, ", ".join(shown) or "none")
    return Group(table, Text("More of one family: jettison list techniques", style="dim"))


def members(listed: Sequence[Listed]) -> RenderableType:
    """One family in full."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("package", no_wrap=True)
    for column in ("requires", "adds", "removes", "usable here?"):
        table.add_column(column, overflow="fold")
    for item in listed:
        table.add_row(
            Text(item.name, style="bold"),
            item.package,
            ", ".join(item.requires) or "–",
            ", ".join(item.adds) or "–",
            ", ".join(item.removes) or "–",
            item.install or "yes",
        )
    return table


def health(device: Device, listed: Sequence[Listed], blas: str) -> RenderableType:
    """The machine, what its instruction sets mean, and what is missing."""
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_row("cpu", f"{device.cpu}, {device.cores} cores, class {device.cpu_class}")
    facts.add_row("memory", f"{device.memory_bytes / 2**30:.1f} GiB")
    facts.add_row("system", device.system)
    facts.add_row("BLAS", blas)
    for feature in device.features:
        facts.add_row(feature, FEATURES.get(feature, "present"))
    if not device.has_int8_dot_products:
        facts.add_row(
            "no VNNI", "8-bit weights may saturate: reduce_range is in the search space by default"
        )
    versions = ", ".join(f"{name} {version}" for name, version in sorted(device.versions.items()))
    facts.add_row("versions", versions)
    absent = [item for item in listed if item.install]
    lines = [Text(f"{item.family} {item.name} can't run here: {item.install}") for item in absent]
    return Group(facts, *(lines or [Text("Every installed plug-in can run here.")]))
