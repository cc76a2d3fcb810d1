"""Commands about this installation and machine: list, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from jettison.cli.showing import show
from jettison.errors import UsageError


def list_(
    family: Annotated[str, typer.Argument(help="techniques, runtimes, metrics, ...")] = "",
) -> None:
    """List what is installed; a family shows what each of its members needs."""
    from jettison import registry
    from jettison.reporting import catalogue

    if not family:
        show(catalogue.overview({f: registry.packages(f) for f in registry.FAMILIES}))
    elif family in registry.FAMILIES:
        show(catalogue.members(registry.describe(family)))
    else:
        raise UsageError(f"no family `{family}`; there are: {', '.join(registry.FAMILIES)}")


def doctor() -> None:
    """Show what works on this machine, how fast it is, and what to install for the rest."""
    from jettison import machine, registry
    from jettison.reporting import catalogue
    from jettison.timing.rates import machine_rates

    listed = [item for family in registry.FAMILIES for item in registry.describe(family)]
    around = catalogue.Surroundings(
        blas=machine.describe_blas(),
        compiler=machine.compiler(),
        onnxruntimes=machine.packages_with("onnxruntime"),
        rates=[machine_rates(threads) for threads in sorted({1, machine.cores()})],
    )
    show(catalogue.health(machine.describe_device(), listed, around))
