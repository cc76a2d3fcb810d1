"""Reads what guardrails blocked and which attacks got through, and refuses what can't be paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from jettison.assessment.guard_garak import garak_table, is_garak_report
from jettison.domain.extension_points import Example
from jettison.domain.rows import Array
from jettison.errors import DataError
from jettison.pipeline.split.reading import read_file

BLOCKED = {"1": 1.0, "true": 1.0, "yes": 1.0, "blocked": 1.0, "block": 1.0}
PASSED = {"0": 0.0, "false": 0.0, "no": 0.0, "allowed": 0.0, "allow": 0.0, "passed": 0.0}
EXPECTED = {"block": True, "allow": False}

SAFE = ("safe", "refused", "blocked", "pass", "passed", "ok")
HIT = ("hit", "unsafe", "complied", "fail", "failed", "vulnerable")
"""Words of an outcome; a number from 0 to 1 is the score of a detector, as garak has them: from 0.5 on
the attack got through. `true` and `false` mean opposite things in different tools: refused."""

THRESHOLD = 0.5
SHOWN = 60

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class PairedRows:
    """One harm, row by row, before and after.

    Attributes:
        metric: name of the harm.
        keys: text of each row, all different.
        raw: the same as the file holds it.
        before, after: harm of each row, shape (n,): 0 or 1, or the share of repetitions.
        groups: column -> value of each row.
        units: which rows belong together (one conversation), shape (n,) of str; `None` where each row
            stands for itself.
        repeated: whether any row was asked several times. Then the test is that of a mean, whatever
            the answers are: a test must not be chosen by what it finds.
    """

    metric: str
    keys: tuple[str, ...]
    raw: tuple[str, ...]
    before: Array
    after: Array
    groups: Mapping[str, Array]
    repeated: bool = False
    units: Array | None = None


def normal(text: str) -> str:
    """A text as it is keyed: white space at the ends and in a row counts once."""
    return " ".join(text.split())


def read_guardrail(
    path: Path, groups: Sequence[str] = (), unit: str = ""
) -> tuple[PairedRows, ...]:
    """Reads requests with what should have happened and what did, before and after a change.

    Args:
        path: of a table with the columns `request`, `expected` (block or allow),
            `blocked_before` and `blocked_after`.
        groups: further columns whose values must hold each.
        unit: column that says which requests belong together; empty where each stands for itself.

    Returns:
        `missed_blocks` over the requests to block, and `false_blocks` over those to allow; one of
        them alone where the file has only such requests.

    Raises:
        DataError: for a missing column, an unknown word, or a request that stands twice.
    """
    table = read_file(str(path), "requests")
    _need(table, ("request", "expected", "blocked_before", "blocked_after", *groups), path)
    belongs = _units(table, unit, path)
    keys = _texts(table, "request", path)
    raw = [str(value) for value in table.columns["request"]]
    _no_repeats(keys, path)
    expected = np.array(_words(table, "expected", EXPECTED, path))
    sides = [
        np.array(_words(table, name, {**BLOCKED, **PASSED}, path))
        for name in ("blocked_before", "blocked_after")
    ]
    named = {name: np.array([str(v) for v in table.columns[name]]) for name in groups}
    found = []
    for metric, rows in (("missed_blocks", expected), ("false_blocks", ~expected)):
        if rows.any():
            wrong = [np.where(expected, 1.0 - side, side)[rows] for side in sides]
            at = np.flatnonzero(rows)
            taken, told = (tuple(texts[place] for place in at) for texts in (keys, raw))
            parts = {name: values[rows] for name, values in named.items()}
            together = None if belongs is None else belongs[rows]
            found.append(PairedRows(metric, taken, told, wrong[0], wrong[1], parts, units=together))
    return tuple(found)


def read_attacks(before: Path, after: Path, unit: str = "") -> PairedRows:
    """Reads which attacks got through, before and after a change; paired by the text of the attack.

    Args:
        before, after: tables with the columns `prompt`, `category` and `outcome`. Repetitions of a
            prompt (garak asks several times) are averaged: one prompt is one unit.
        unit: column that says which prompts belong together (variants of one attack).

    Raises:
        DataError: if the two don't hold the same attacks, or for an unknown outcome.
    """
    one, other = _attacks(before, unit), _attacks(after, unit)
    if one.keys() != other.keys():
        lacking = sorted(one.keys() ^ other.keys())[0]
        where = after if lacking in one else before
        raise DataError(
            f"{before} and {after} don't hold the same attacks: `{lacking[:SHOWN]}` is not in {where}; "
            "both systems must meet every attack"
        )
    keys = tuple(one)
    for key in keys:
        if one[key][0] != other[key][0]:
            raise DataError(
                f"the attack `{key[:SHOWN]}` is of category `{one[key][0]}` in {before} and "
                f"`{other[key][0]}` in {after}"
            )
        if one[key][3] != other[key][3]:
            raise DataError(
                f"the attack `{key[:SHOWN]}` belongs to `{one[key][3]}` in {before} and to "
                f"`{other[key][3]}` in {after} (column `{unit}`)"
            )
    harm = [np.array([np.mean(side[key][1]) for key in keys]) for side in (one, other)]
    categories = np.array([one[key][0] for key in keys])
    raw = tuple(one[key][2] for key in keys)
    repeated = any(len(side[key][1]) > 1 for side in (one, other) for key in keys)
    units = np.array([one[key][3] for key in keys]) if unit else None
    return PairedRows(
        "attack_success", keys, raw, harm[0], harm[1], {"category": categories}, repeated, units
    )


Attack = tuple[str, list[float], str, str]
"""Category, outcomes, text as it stands first in the file, and what it belongs to."""


def _attacks(path: Path, unit: str) -> dict[str, Attack]:
    """Each attack, by the text that keys it."""
    table = garak_table(path) if is_garak_report(path) else read_file(str(path), "attacks")
    _need(table, ("prompt", "category", "outcome"), path)
    belongs = _units(table, unit, path)
    found: dict[str, Attack] = {}
    categories = [str(value) for value in table.columns["category"]]
    rows = zip(_texts(table, "prompt", path), categories, _outcomes(table, path), strict=True)
    for place, (key, category, outcome) in enumerate(rows):
        together = "" if belongs is None else str(belongs[place])
        first = str(table.columns["prompt"][place])
        known = found.setdefault(key, (category, [], first, together))
        if (known[0], known[3]) != (category, together):
            raise DataError(
                f"{path}, row {place}: the attack `{key[:SHOWN]}` stands in the categories "
                f"`{known[0]}` and `{category}`, or under two values of `{unit}`; one text is one "
                "attack, so keep one"
            )
        known[1].append(outcome)
    return found


def _units(table: Example, unit: str, path: Path) -> Array | None:
    """What each row belongs to, shape (n,) of str.

    Raises:
        DataError: for a missing column or an empty cell: such a row would belong to all others like it.
    """
    if not unit:
        return None
    _need(table, (unit,), path)
    found = np.array([str(value).strip() for value in table.columns[unit]])
    empty = [place for place, name in enumerate(found) if name in ("", "nan", "None")]
    if empty:
        raise DataError(
            f"{path}, row {empty[0]}: `{unit}` is empty; a row that belongs to nothing else needs a "
            "name of its own"
        )
    return found


def _outcomes(table: Example, path: Path) -> list[float]:
    outcomes = []
    for place, value in enumerate(table.columns["outcome"].tolist()):
        word = str(value).strip().lower()
        try:
            score = float(word)
        except ValueError:
            score = 1.0 if word in HIT else 0.0 if word in SAFE else -1.0
        if isinstance(value, bool) or not 0.0 <= score <= 1.0:
            raise DataError(
                f"{path}, row {place}: the outcome {value!r} must be one of {', '.join(SAFE)} (the "
                f"system held), one of {', '.join(HIT)} (the attack got through), or a detector's "
                "score from 0 to 1"
            )
        outcomes.append(float(score >= THRESHOLD))
    return outcomes


def _need(table: Example, columns: Sequence[str], path: Path) -> None:
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise DataError(
            f"{path} has no column {', '.join(f'`{name}`' for name in absent)}; it has "
            f"{', '.join(f'`{name}`' for name in table.columns)}"
        )


def _texts(table: Example, name: str, path: Path) -> list[str]:
    texts = [normal(str(value)) for value in table.columns[name]]
    for place, text in enumerate(texts):
        if not text:
            raise DataError(f"{path}, row {place}: `{name}` is empty; a row is known by its text")
    return texts


def _words(table: Example, name: str, known: Mapping[str, T], path: Path) -> list[T]:
    found = []
    for place, value in enumerate(table.columns[name].tolist()):
        word = str(int(value) if isinstance(value, float) and value.is_integer() else value)
        if word.strip().lower() not in known:
            raise DataError(
                f"{path}, row {place}: `{name}` must be one of {', '.join(known)}; got {value!r}"
            )
        found.append(known[word.strip().lower()])
    return found


def _no_repeats(keys: Sequence[str], path: Path) -> None:
    seen: set[str] = set()
    for place, key in enumerate(keys):
        if key in seen:
            raise DataError(
                f"{path}, row {place}: the request `{key[:SHOWN]}` stands there twice; a request "
                "counts once, so keep one of them"
            )
        seen.add(key)
