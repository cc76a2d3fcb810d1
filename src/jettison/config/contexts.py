"""Reads `[[contexts]]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jettison.config.checking import Mistakes, called, checked_table
from jettison.config.toml_lines import KeyPath
from jettison.domain.contexts import CONTEXT, Context


def read_contexts(given: Any, groups: Sequence[str], mistakes: Mistakes) -> tuple[Context, ...]:
    """Reads the tables of contexts.

    Args:
        given: what stands under `contexts`.
        groups: `data.groups`; none may be called as the column that contexts make.
        mistakes: what is wrong is noted here.
    """
    if not isinstance(given, list):
        mistakes.add(
            ("contexts",),
            "`contexts` must be a list of tables; write `[[contexts]]` above its keys",
        )
        return ()
    if given and CONTEXT in groups:
        mistakes.add(
            ("contexts",),
            f"`data.groups` names a column `{CONTEXT}`, and `[[contexts]]` make groups of that "
            "name; rename the column",
        )
    made: list[Context] = []
    for place, table in enumerate(given):
        path: KeyPath = ("contexts", str(place))
        before = len(mistakes.problems)
        values = checked_table("contexts", table, path, mistakes)
        if len(mistakes.problems) > before:
            continue
        if values["name"] in {context.name for context in made}:
            mistakes.add(
                (*path, "name"),
                f"{called((*path, 'name'))} is `{values['name']}` a second time; one context a name",
            )
        if values["of"] and not any(values["of"].startswith(f"{name}=") for name in groups):
            column = values["of"].partition("=")[0]
            mistakes.add(
                (*path, "of"),
                f"{called((*path, 'of'))} is `{values['of']}`, and `{column}` is not in `data.groups` "
                f"({', '.join(groups) or 'empty'})",
            )
        made.append(Context(**{**values, "columns": tuple(values["columns"])}))
    return tuple(made)
