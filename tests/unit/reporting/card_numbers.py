"""Which numbers of a card can't be found where their marks lead; shared by the tests of cards."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jettison.domain.certificate import Claim
from jettison.domain.record import from_json, to_plain
from jettison.domain.run import RunRecord
from jettison.reporting.model_card_tables import share_interval

MARK = re.compile(r"\[([A-Z]\d+)\]\(#sources\)")
_SOURCE_ROW = re.compile(r"^\| ([A-Z]\d+) \| .* \| \[([\w.]+)\]\([\w.]+\) \| (.*) \|$", re.M)
_NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?:[-:T.]\d[\d:TZ.-]*)?")
_CONSTANTS = ("95 %",)
"""The one number that is no result: the confidence of the intervals that are shown."""

_FACTORS = (1.0, 100.0, 1e-3, 1e-6, 1e-9)


def listed(text: str) -> Mapping[str, tuple[str, list[str]]]:
    """The list at the end of a card: mark -> file and JSON pointers."""
    end = text.split("\n## Sources\n", 1)[1]
    rows = _SOURCE_ROW.findall(end)
    return {mark: (file, re.findall(r"`([^`]+)`", places)) for mark, file, places in rows}


def untraced(text: str, record: RunRecord) -> list[str]:
    """Numbers outside code and quotations that no mark on their line leads to, with the line."""
    files = {"run.json": to_plain(record), "certificate.json": to_plain(record.certificate)}
    sources = listed(text)
    return [
        f"{number} in: {line}"
        for line in _lines(text)
        for number in _numbers(line)
        if not any(_stands(number, value) for value in _values(line, sources, files))
    ]


def _lines(text: str) -> Iterator[str]:
    body = text.split("\n---\n", 1)[1].split("\n## Sources\n", 1)[0]
    body = re.sub(r"(`{3,})\w*\n.*?\n\1", "", body, flags=re.S)
    for line in body.splitlines():
        if not line.startswith((">", "#")):
            yield line


def _numbers(line: str) -> list[str]:
    bare = html.unescape(MARK.sub("", re.sub(r"`[^`]*`", "", line))).replace("\\", "")
    bare = re.sub(r"^\d+\. ", "", bare)  # the number of a list item
    for constant in _CONSTANTS:
        bare = bare.replace(constant, "")
    return _NUMBER.findall(bare)


def _values(
    line: str, sources: Mapping[str, tuple[str, list[str]]], files: Mapping[str, Any]
) -> list[Any]:
    found: list[Any] = []
    for mark in MARK.findall(line):
        file, places = sources[mark]
        for place in places:
            value = _at(files[file], place)
            found += _leaves(value)
            if isinstance(value, dict) and {"margin", "verdict", "grade"} <= value.keys():
                claim = from_json(Claim, json.dumps(value))
                for share in (claim.baseline, claim.candidate):
                    found += share_interval(claim, share) or ()
    return found


def _at(value: Any, place: str) -> Any:
    for part in place.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in (key, *_leaves(item))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _stands(number: str, value: Any) -> bool:
    """Whether a number is a value rounded as it is shown, in one of the units that are shown."""
    if isinstance(value, str):
        return number.strip("−-") in re.sub(r"(?<=\d),(?=\d{3})", ",", value)
    if value is None or isinstance(value, bool):
        return False
    plain = number.replace(",", "").replace("−", "-")
    try:
        shown = abs(float(plain))
    except ValueError:
        return False
    decimals = len(plain.partition(".")[2])
    half = 0.5000001 * 10.0**-decimals
    return any(abs(abs(value) * factor - shown) <= half for factor in _FACTORS)
