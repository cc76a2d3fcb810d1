"""The rows of an assessment: groups of each column and of declared crossings, targets, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jettison.domain.assessment import AssessedTask
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.statistics.group_values import Codes, Floats

MOST_GROUPS = 1000
"""Of one column: nobody reads more, and intervals that allow for so many say nothing."""

IDENTIFIER_SHARE = 0.5
FEWEST_TO_TELL = 50
"""From so many rows on, a column with a value of its own in half of them is an identifier."""

MISSING_GROUP = "(missing)"


@dataclass(frozen=True, slots=True, eq=False)
class GroupColumn:
    """One column of groups, or a crossing of several.

    Attributes:
        name: `sex`, or `sex & race`.
        names: of its groups, `sex=Female` or `sex=Female & race=White`.
        codes: number of the group of each row, shape (n,).
    """

    name: str
    names: tuple[str, ...]
    codes: Codes

    @property
    def count(self) -> int:
        """How many groups it has."""
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Rows, without any model's answers.

    Attributes:
        task: what is asked about them.
        n: rows with a weight above 0.
        columns: groups.
        targets: class index or value of each row, shape (n,); `None` without labels.
        classes: names of the classes in the order of their indices; empty for a regression.
        positive: index of the class whose choice is the selection.
        weights: shape (n,), or `None`.
    """

    task: AssessedTask
    n: int
    columns: tuple[GroupColumn, ...]
    targets: Array | None
    classes: tuple[str, ...] = ()
    positive: int = 1
    weights: Floats | None = None


def group_columns(
    values: Mapping[str, Array], crossings: Sequence[Sequence[str]], where: str
) -> tuple[GroupColumn, ...]:
    """Numbers the groups of each column and of each crossing that was declared.

    Args:
        values: column -> text of each row, shape (n,); missing ones are `MISSING_GROUP`.
        crossings: columns whose combinations are groups too, such as `("sex", "race")`.
        where: names the data in errors.

    Raises:
        DataError: for a column that is an identifier or has too many groups, a crossing of unknown
            columns, or no column at all.
    """
    if not values:
        raise DataError(
            f"{where}: no column of groups was named, and an assessment is about groups; name one "
            "with --group (sex, age band, site, language, ...)"
        )
    single = {name: _numbered(name, column, where) for name, column in values.items()}
    made = list(single.values())
    for crossing in crossings:
        unknown = [name for name in crossing if name not in single]
        if unknown or len(set(crossing)) < 2:
            raise DataError(
                f"the crossing `{' x '.join(crossing)}` needs two or more columns of groups; "
                f"named as groups: {', '.join(f'`{name}`' for name in single)}"
            )
        made.append(_crossed([single[name] for name in crossing], where))
    return tuple(made)


def _numbered(name: str, column: Array, where: str) -> GroupColumn:
    found, codes = np.unique(np.asarray(column, dtype=np.str_), return_inverse=True)
    if len(column) >= FEWEST_TO_TELL and len(found) > IDENTIFIER_SHARE * len(column):
        raise DataError(
            f"the group column `{name}` of {where} has {len(found):,} different values in "
            f"{len(column):,} rows, so it is an identifier and no group; leave it out, or give it "
            "as `unit` if several rows belong together"
        )
    _check_count(name, len(found), where)
    return GroupColumn(name, tuple(f"{name}={value}" for value in found), codes.astype(np.int64))


def _crossed(parts: Sequence[GroupColumn], where: str) -> GroupColumn:
    """Only combinations that occur become groups."""
    joined = np.zeros(len(parts[0].codes), dtype=np.int64)
    for part in parts:
        joined = joined * part.count + part.codes
    found, codes = np.unique(joined, return_inverse=True)
    name = " & ".join(part.name for part in parts)
    _check_count(name, len(found), where)
    names = []
    for value in found.tolist():
        words: list[str] = []
        rest = int(value)
        for part in reversed(parts):
            rest, number = divmod(rest, part.count)
            words.insert(0, part.names[number])
        names.append(" & ".join(words))
    return GroupColumn(name, tuple(names), codes.astype(np.int64))


def _check_count(name: str, count: int, where: str) -> None:
    if count > MOST_GROUPS:
        raise DataError(
            f"the group column `{name}` of {where} has {count:,} groups; at most {MOST_GROUPS:,} "
            "can be told apart: merge them (a region in place of a post code, ten years in place "
            "of a birthday) and name the merged column"
        )
