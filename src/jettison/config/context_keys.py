"""The keys of `contexts`: conditions of use, made by transformations."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from annotated_types import Gt, Le, MinLen, Predicate

from jettison.config.key import REQUIRED, Key, Names, Text, defaults_of
from jettison.domain.contexts import Context

_CONTEXT = defaults_of(Context)

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


def _is_name(value: str) -> bool:
    return re.fullmatch(NAME, value) is not None


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool | int | str)


def _is_group(value: str) -> bool:
    return not value or "=" in value.strip("=")


CONTEXT_KEYS = (
    Key(
        "contexts",
        "name",
        Annotated[str, Predicate(_is_name)],
        "letters, digits, `_`, `-` and `.`",
        REQUIRED,
        "What the context is called; its group is `context=NAME`.",
    ),
    Key(
        "contexts",
        "transform",
        Annotated[str, MinLen(1)],
        "the name of a transformation",
        REQUIRED,
        "How its rows are made (`jettison list transformations`).",
        "transformations",
    ),
    Key(
        "contexts",
        "settings",
        dict[Text, Annotated[Any, Predicate(_is_plain)]],
        "a table of plain values such as { quality = 40 }",
        {},
        "Settings of the transformation; those that are absent have its defaults.",
    ),
    Key(
        "contexts",
        "columns",
        Names,
        "a list of column names",
        _CONTEXT["columns"],
        "Columns that are changed. Empty: all that feed the model and are of its kind.",
    ),
    Key(
        "contexts",
        "share",
        Annotated[float, Gt(0), Le(1)],
        "a number above 0, at most 1",
        _CONTEXT["share"],
        "Share of the selection rows and of the sealed rows that get a copy in this context.",
    ),
    Key(
        "contexts",
        "of",
        Annotated[str, Predicate(_is_group)],
        'a group such as "site=exact", of a column in data.groups, or an empty text',
        _CONTEXT["of"],
        "Only rows of this group get a copy. Empty: all rows.",
    ),
)
