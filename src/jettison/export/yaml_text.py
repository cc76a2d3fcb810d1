"""YAML as Kubernetes and Ray read it: maps, lists and scalars, every doubtful text in quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
READ_AS_SOMETHING_ELSE = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def yaml_text(value: Mapping[str, Any], heading: Sequence[str] = ()) -> str:
    """One document, comment lines first.

    >>> print(yaml_text({"kind": "X", "args": ["a", "1"]}), end="")
    kind: X
    args:
      - a
      - "1"
    """
    comments = [f"# {' '.join(line.split())}" for line in heading]
    return "\n".join([*comments, *_lines(value)]) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(f"{_scalar(key)}:", item)
    else:
        for item in value:
            yield from _item(item)


def _entry(head: str, item: Any) -> Iterator[str]:
    if _is_nested(item):
        yield head
        yield from (f"  {line}" for line in _lines(item))
    else:
        yield f"{head} {_scalar(item)}"


def _item(item: Any) -> Iterator[str]:
    if _is_nested(item):
        for number, line in enumerate(_lines(item)):
            yield f"  {line}" if number else f"- {line}"
    else:
        yield f"- {_scalar(item)}"


def _is_nested(item: Any) -> bool:
    return isinstance(item, Mapping | list | tuple) and bool(item)


def _scalar(value: Any) -> str:
    """A text that YAML could read as a number, a truth value or a mark is written as JSON does."""
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in READ_AS_SOMETHING_ELSE
        return value if plain else json.dumps(value)
    return json.dumps(value)
