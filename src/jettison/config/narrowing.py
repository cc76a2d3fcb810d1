"""`ranges` and `settings`: what the user narrows or fixes of a technique or a runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jettison.config.checking import Mistakes, called
from jettison.config.toml_lines import KeyPath
from jettison.domain.recipe import Choices, FloatRange, IntegerRange, Range
from jettison.domain.record import Settings

_FORM = (
    "[low, high] with low below high, a list of at least two different values, or a table with "
    "`low` and `high` or `values` (and `default`)"
)


def read_ranges(ranges: Any, settings: Any, mistakes: Mistakes) -> dict[str, dict[str, Range]]:
    """Reads `ranges`; a key that is also fixed under `settings` is a mistake."""
    found: dict[str, dict[str, Range]] = {}
    for owner, key, value in _entries("ranges", ranges, mistakes):
        path = ("ranges", owner, key)
        fixed = settings.get(owner) if isinstance(settings, dict) else None
        if isinstance(fixed, dict) and key in fixed:
            mistakes.add(
                path,
                f"{called(path)} and `settings.{owner}.{key}` exclude each other: search the "
                "setting, or fix it",
            )
        made = _range(value)
        if made is None:
            mistakes.add(path, f"{called(path)} must be {_FORM}; got {value!r}")
        else:
            found.setdefault(owner, {})[key] = made
    return found


def read_settings(settings: Any, mistakes: Mistakes) -> dict[str, Settings]:
    """Reads `settings`: one plain value each."""
    found: dict[str, dict[str, Any]] = {}
    for owner, key, value in _entries("settings", settings, mistakes):
        path = ("settings", owner, key)
        if not _is_scalar(value):
            mistakes.add(
                path,
                f"{called(path)} must be one value (true, a number or a text); got {value!r}. To "
                f"search several, use `ranges.{owner}.{key}`",
            )
        else:
            found.setdefault(owner, {})[key] = value
    return dict(found)


def _entries(section: str, given: Any, mistakes: Mistakes) -> list[tuple[str, str, Any]]:
    if not isinstance(given, dict):
        mistakes.add((section,), f"`{section}` must be a table of techniques; got {given!r}")
        return []
    owners = (*mistakes.known["techniques"], *mistakes.known["runtimes"])
    entries: list[tuple[str, str, Any]] = []
    for owner, keys in given.items():
        path: KeyPath = (section, owner)
        if owner not in owners:
            mistakes.unknown(path, f"{called(path)}: no technique or runtime has this name", owners)
        elif not isinstance(keys, dict):
            mistakes.add(path, f"{called(path)} must be a table of settings; got {keys!r}")
        else:
            entries += [(owner, key, value) for key, value in keys.items()]
    return entries


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | str) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _is_number(value: Any) -> bool:
    return _is_scalar(value) and not isinstance(value, bool | str)


def _range(value: Any) -> Range | None:
    """Two numbers are ends; other lists are choices; a table spells out which."""
    if isinstance(value, list):
        if len(value) == 2 and all(_is_number(v) for v in value):
            return _between({"low": value[0], "high": value[1]})
        return _choices({"values": value})
    if isinstance(value, dict):
        return _choices(value) if "values" in value else _between(value)
    return None


def _choices(table: Mapping[str, Any]) -> Choices | None:
    values = table["values"]
    if set(table) - {"values", "default"} or not isinstance(values, list) or len(values) < 2:
        return None
    kinds = [(type(v), v) for v in values]
    default = table.get("default", values[0])
    if not all(_is_scalar(v) for v in values) or len(set(kinds)) < len(values):
        return None
    return Choices(tuple(values), default) if (type(default), default) in kinds else None


def _between(table: Mapping[str, Any]) -> IntegerRange | FloatRange | None:
    if set(table) - {"low", "high", "default", "logarithmic"} or not {"low", "high"} <= set(table):
        return None
    low, high = table["low"], table["high"]
    default = table.get("default", low)
    logarithmic = table.get("logarithmic", False)
    if not all(_is_number(v) for v in (low, high, default)) or not low < high:
        return None
    if not low <= default <= high or not isinstance(logarithmic, bool):
        return None
    if all(isinstance(v, int) for v in (low, high, default)) and not logarithmic:
        return IntegerRange(low, high, default)
    if logarithmic and low <= 0:
        return None
    return FloatRange(float(low), float(high), float(default), logarithmic)
