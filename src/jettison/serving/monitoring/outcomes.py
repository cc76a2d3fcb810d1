"""Outcomes: what turned out to be right, posted back under the id of the request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jettison.errors import RequestRefused

LARGEST_POST = 1000
"""Outcomes in one post: they are joined on the event loop, at about 20 microseconds each."""

LARGEST_INTEGER = 2**53
LONGEST_NAME = 256
MOST_GROUPS = 32

Label = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known now about one row that was answered.

    Attributes:
        request_id: of the request.
        label: the right answer: a class name or index, or a number for a regression; `None`
            where only groups are told.
        row: which row of the request, from 0.
        groups: column -> value, as in the data that certified the model.
    """

    request_id: str
    label: Label = None
    row: int = 0
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutcomeReceipt:
    """What became of the outcomes of one post.

    Attributes:
        received: items in it.
        joined: found their answer and counted.
        paired: of them, those whose request the original answered too: only these can speak about
            the certified margin.
        refused: reason -> items that did not count.
        unwatched_groups: groups told that the certificate does not watch; they count only in the
            whole.
        notes: sentences for whoever posts.
    """

    received: int
    joined: int
    paired: int
    refused: Mapping[str, int]
    unwatched_groups: int = 0
    notes: tuple[str, ...] = ()


def together(receipts: Sequence[OutcomeReceipt]) -> OutcomeReceipt:
    """Adds up the receipts of the versions that shared one post."""
    refused: Counter[str] = Counter()
    for receipt in receipts:
        refused.update(receipt.refused)
    return OutcomeReceipt(
        received=sum(r.received for r in receipts),
        joined=sum(r.joined for r in receipts),
        paired=sum(r.paired for r in receipts),
        refused=dict(refused),
        unwatched_groups=sum(r.unwatched_groups for r in receipts),
        notes=tuple(dict.fromkeys(note for r in receipts for note in r.notes)),
    )


def parse_outcomes(payload: object) -> tuple[Outcome, ...]:
    """Reads the body `{"outcomes": [{"id", "label", "row", "groups"}, ...]}`, already decoded.

    A list as `label` has one label for each row of the request.

    Raises:
        RequestRefused: `malformed`, saying which item and what is allowed; `too large`.
    """
    items = payload.get("outcomes") if isinstance(payload, dict) else None
    if not isinstance(items, list):
        raise RequestRefused("malformed", 'outcomes are posted as {"outcomes": [{"id": ...}, ...]}')
    if len(items) > LARGEST_POST:
        raise _too_many(len(items))
    found: list[Outcome] = []
    for place, item in enumerate(items):
        found.extend(_item(place, item))
        if len(found) > LARGEST_POST:
            raise _too_many(len(found))
    return tuple(found)


def group_names(groups: Mapping[str, str]) -> list[str]:
    """Groups as a certificate names them: `column=value`."""
    return [f"{column}={value}" for column, value in groups.items()]


def _too_many(count: int) -> RequestRefused:
    return RequestRefused(
        "too large", f"{count} outcomes in one post; at most {LARGEST_POST} are allowed"
    )


def _item(place: int, item: object) -> Sequence[Outcome]:
    if not isinstance(item, dict) or not set(item) <= {"id", "label", "row", "groups"}:
        raise _bad(place, "has the keys `id`, `label`, `row` and `groups`, and no others")
    name = item.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise _bad(place, f"needs an `id` that is a text of 1 to {LONGEST_NAME} characters")
    groups = _groups(place, item.get("groups", {}))
    label, row = item.get("label"), item.get("row", 0)
    if not isinstance(row, int) or isinstance(row, bool) or row < 0:
        raise _bad(place, "needs a `row` that is a whole number from 0")
    if isinstance(label, list):
        if "row" in item:
            raise _bad(place, "has a list of labels, one for each row, so it can't name a `row`")
        return [Outcome(name, _label(place, one), i, groups) for i, one in enumerate(label)]
    return [Outcome(name, _label(place, label), row, groups)]


def _label(place: int, value: object) -> Label:
    if value is None or (isinstance(value, bool | int) and abs(value) <= LARGEST_INTEGER):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and len(value) <= LONGEST_NAME:
        return value
    raise _bad(place, "needs a `label` that is a class name, a whole number or a finite number")


def _groups(place: int, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_GROUPS:
        raise _bad(place, f"needs `groups` as column -> value, at most {MOST_GROUPS} of them")
    found: dict[str, str] = {}
    for column, one in value.items():
        if not isinstance(one, str | int | float | bool):
            raise _bad(place, f"needs a text or a number as the value of group column `{column}`")
        # 1.0 and 1 are one group, as where the data was read.
        whole = isinstance(one, float) and math.isfinite(one) and one.is_integer()
        found[str(column)[:LONGEST_NAME]] = str(int(one) if whole else one)[:LONGEST_NAME]
    return found


def _bad(place: int, what: str) -> RequestRefused:
    return RequestRefused("malformed", f"outcome number {place} (from 0) {what}")
