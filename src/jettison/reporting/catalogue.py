"""What is installed and what works here, for `jettison list` and `jettison doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jettison.domain.catalogue import Listed
from jettison.domain.device import Device
from jettison.domain.rates import Rates
from jettison.reporting import roofline

FEATURES = {
    "avx2": "256-bit vectors: 8-bit products run, but add up in 16 bits and may saturate",
    "fma": "a product and its sum in one instruction; float32 is slower without it",
    "avx512f": "512-bit vectors",
    "avx512bw": "512-bit vectors of 8-bit and 16-bit integers",
    "avx512_vnni": "8-bit dot products that don't saturate; int8 gains most here",
    "avx_vnni": "8-bit dot products that don't saturate; int8 gains most here",
    "avx512_bf16": "bfloat16 products without emulation; OpenVINO can compute in them",
    "amx_int8": "matrix units for 8-bit products",
    "amx_bf16": "matrix units for bfloat16",
    "asimd": "128-bit vectors",
    "asimddp": "8-bit dot products that don't saturate",
    "i8mm": "8-bit matrix products",
    "sve": "vectors as wide as the CPU makes them",
}
"""Instruction set -> what it means for a compressed model."""


LACKING = {
    "avx512_vnni": "int8 gains less, and 8-bit weights need reduce_range",
    "avx512_bf16": "bfloat16 is emulated, several times slower than float32",
    "amx_int8": "no matrix units",
}
"""What it means that an x86 CPU has no such instructions."""

NO_COMPILER = (
    "none found (g++, clang++, or $CXX): torch.compile can't build kernels for the CPU; "
    "apt install g++"
)


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
            # What stands in brackets would be taken for markup: pip install 'jettison[cpu]'.
            Text(item.install or "yes"),
        )
    return table


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What `doctor` found besides the CPU and the plug-ins.

    Attributes:
        blas: the linear algebra library of NumPy.
        compiler: path of the C++ compiler; empty without one.
        onnxruntimes: installed packages that hold the module `onnxruntime`.
        rates: measured, for one thread and for all cores.
    """

    blas: str
    compiler: str
    onnxruntimes: Sequence[str]
    rates: Sequence[Rates]


def health(device: Device, listed: Sequence[Listed], around: Surroundings) -> RenderableType:
    """The machine, what its instruction sets and rates mean, and what is missing."""
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_row("cpu", f"{device.cpu}, {device.cores} cores, class {device.cpu_class}")
    facts.add_row("memory", f"{device.memory_bytes / 2**30:.1f} GiB")
    facts.add_row("system", device.system)
    facts.add_row("BLAS", around.blas)
    for feature in device.features:
        facts.add_row(feature, FEATURES.get(feature, "present"))
    if not device.has_int8_dot_products:
        facts.add_row(
            "no VNNI", "8-bit weights may saturate: reduce_range is in the search space by default"
        )
    lacking = [name for name in LACKING if name not in device.features]
    if device.architecture == "x86_64" and lacking:
        facts.add_row("not here", "; ".join(f"{name}: {LACKING[name]}" for name in lacking))
    for rates in around.rates:
        for name, value in roofline.machine_rows(rates):
            facts.add_row(name, Text(value))
    facts.add_row("C++ compiler", around.compiler or NO_COMPILER)
    if len(around.onnxruntimes) > 1:
        facts.add_row("onnxruntime", _several(around.onnxruntimes))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(device.versions.items()))
    facts.add_row("versions", versions)
    absent = [item for item in listed if item.install]
    lines = [Text(f"{item.family} {item.name} can't run here: {item.install}") for item in absent]
    return Group(facts, *(lines or [Text("Every installed plug-in can run here.")]))


def _several(packages: Sequence[str]) -> str:
    return (
        f"{' and '.join(packages)} are installed together and overwrite each other's files; which "
        f"one runs is chance: pip uninstall -y {' '.join(packages)}, then install one of them"
    )
