"""`Listed`: one plug-in as `jettison list` and `jettison doctor` show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    """A registered plug-in.

    Attributes:
        family, name: as registered.
        package: the distribution that registers it.
        requires, adds, removes: traits; empty for families without them.
        summary: first sentence of its docstring.
        install: what to run to make it usable, or what this machine lacks; empty when it is usable
            here.
    """

    family: str
    name: str
    package: str
    requires: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    summary: str = ""
    install: str = ""
