"""Rows that are JSON objects: one a line of a file, or dictionaries that a function gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jettison.errors import DataError


def read_lines(path: Path, where: str) -> dict[str, list[Any]]:
    """Reads one JSON object a line; blank lines are passed over.

    Raises:
        DataError: for a line that is no JSON object, or whose keys are not those of the first
            line; says the line, counted from 1.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return columns_of(_objects(file, where), where, "line")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where} can't be read as text in UTF-8: {error}") from error


def _objects(lines: Iterable[str], where: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"line {number} of {where} can't be read as one JSON object a line: {error}"
            ) from error


def columns_of(rows: Iterable[tuple[int, Any]], where: str, counted: str) -> dict[str, list[Any]]:
    """Turns rows into columns; every row has the keys of the first.

    Args:
        rows: number and content of each.
        where: names the source in errors.
        counted: what the numbers count (`line`, `row`).

    Raises:
        DataError: for a row that is no mapping, lacks a key or has one more, or that mixes text
            and other values in a column; says which.
    """
    columns: dict[str, list[Any]] = {}
    kinds: dict[str, type] = {}
    first = 0
    for number, row in rows:
        place = f"{counted} {number} of {where}"
        if not isinstance(row, Mapping):
            raise DataError(f"{place} is a `{type(row).__name__}`; each must be an object of keys")
        # Columns of a DataFrame may be numbered.
        named = {str(key): value for key, value in row.items()}
        if not columns:
            first, columns = number, {key: [] for key in named}
        lacking = [key for key in columns if key not in named]
        extra = [key for key in named if key not in columns]
        if lacking or extra:
            what = f"lacks the key `{lacking[0]}`" if lacking else f"has the key `{extra[0]}`"
            raise DataError(
                f"{place} {what}, unlike {counted} {first}; every row needs the same keys (null "
                "for a missing value)"
            )
        for key, values in columns.items():
            kind = _kind(named[key])
            if kind is not None and kinds.setdefault(key, kind) is not kind:
                raise DataError(
                    f"`{key}` in {place} is {_shown(kind)}, in the rows before it is "
                    f"{_shown(kinds[key])}; make the column one kind of value"
                )
            values.append(named[key])
    return columns


def _kind(value: Any) -> type | None:
    """Text, a list, an object, or anything else; `None` for a missing value."""
    if value is None:
        return None
    return next((kind for kind in (str, list, dict) if isinstance(value, kind)), float)


def _shown(kind: type) -> str:
    names: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
    return names.get(kind, "a number or true or false")
