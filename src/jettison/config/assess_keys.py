"""The keys of `assess`: how `jettison assess` looks at a model."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from jettison.config.key import Key, Names, defaults_of
from jettison.domain.configuration import AssessSection

_ASSESS = defaults_of(AssessSection)
_Shares = dict[str, Annotated[float, Ge(0), Le(1)]]
_SHARES = "a table of numbers from 0 to 1"


ASSESS_KEYS = (
    Key(
        "assess",
        "cross",
        Names,
        "a list of texts such as sex*race",
        _ASSESS["cross"],
        "Crossings of group columns to look at.",
    ),
    Key(
        "assess",
        "positive",
        str,
        "a class name, or an empty text",
        _ASSESS["positive"],
        "The class that is the selection.",
    ),
    Key(
        "assess",
        "adverse",
        bool,
        "true or false",
        _ASSESS["adverse"],
        "Whether being selected is a disadvantage.",
    ),
    Key("assess", "max_gap", _Shares, _SHARES, {}, "Largest gap allowed, by name of the gap."),
    Key(
        "assess",
        "population",
        _Shares,
        _SHARES,
        {},
        'Share of a group in the population: { "sex=Female" = 0.51 }.',
    ),
    Key(
        "assess",
        "threshold",
        Annotated[float, Gt(0), Le(1)],
        "a number above 0 and at most 1",
        _ASSESS["threshold"],
        "Of the disparate-impact ratio.",
    ),
    Key(
        "assess",
        "smallest",
        Annotated[int, Ge(1)],
        "a whole number from 1",
        _ASSESS["smallest"],
        "Rows that a group needs to be compared.",
    ),
)
