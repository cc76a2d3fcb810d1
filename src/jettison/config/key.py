"""One key of jettison.toml, and the types that several keys share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen

REQUIRED = "required"
"""Stands for the default of a key that must be given."""

LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        section: the table that it stands in; empty at the top of the file.
        name: as written.
        check: the annotated type that a value must have.
        allowed: the same in words, after «must be».
        default: the value when it is absent, or `REQUIRED`.
        meaning: one or two sentences.
        family: the plug-in family that its names must belong to, or empty.
    """

    section: str
    name: str
    check: Any
    allowed: str
    default: Any
    meaning: str
    family: str = ""


def defaults_of(record: type[Any]) -> dict[str, Any]:
    """The defaults that the frozen type declares, so that no default is written twice."""
    return {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in dataclasses.fields(record)
        if field.default is not dataclasses.MISSING
    }


Text = Annotated[str, MinLen(1)]
Names = list[Text]
Numbers = list[Annotated[float, Ge(-1e6), Le(1e6)]]
Seed = Annotated[int, Ge(0), Le(LARGEST_SEED)]
SEED = f"a whole number from 0 to {LARGEST_SEED}"
