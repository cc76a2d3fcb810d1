"""The table `image` as command-line options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jettison.errors import UsageError

__all__ = ["image_table"]

SINGLE = frozenset({"scale"})
"""Keys that hold one number; the others hold lists."""


def image_table(given: Sequence[str]) -> dict[str, Any]:
    """Reads `key=value` texts into the table `image`; numbers may be listed with commas.

    Returns:
        A dictionary with the one key `image`, or nothing where nothing was given.

    Raises:
        UsageError: for a text without an equals sign.
    """
    table: dict[str, Any] = {}
    for text in given:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise UsageError(f"`--image {text}` must be key=value, for example mean=0.5,0.5,0.5")
        parts = [_number(part.strip()) for part in value.split(",")]
        numbers = all(isinstance(part, int | float) for part in parts)
        table[key] = parts if numbers and key not in SINGLE else value
        if numbers and key in SINGLE:
            table[key] = parts[0]
    return {"image": table} if table else {}


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
