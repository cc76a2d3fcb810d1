"""Markdown in which every text from outside is escaped unless it was built here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from jettison.reporting.tables import Table

_SPECIAL = re.compile(r"([\\`*\[\]|~#{}])")
_UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_BULLET = re.compile(r"^([-+=])(?=[-=\s]|$)")
_ORDINAL = re.compile(r"^(\d+)([.)])(?=\s|$)")


class Markdown(str):
    """Markdown that was built here: it goes into a page as it is."""

    __slots__ = ()


def escaped(value: object) -> str:
    r"""Escapes a value so that it shows as the text that it is, in a line or in a table cell.

    >>> escaped("a|b <script> [x](y)")
    'a\\|b &lt;script&gt; \\[x\\](y)'
    >>> escaped("+0.24 points"), escaped("- item"), escaped("1. item")
    ('+0.24 points', '\\- item', '1\\. item')
    >>> escaped(Markdown("**kept**"))
    '**kept**'
    """
    if isinstance(value, Markdown):
        return str(value)
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(r"\\\1", text).replace("://", "&#58;//")
    return _ORDINAL.sub(r"\1\\\2", _BULLET.sub(r"\\\1", text))


def code(text: str) -> Markdown:
    """A piece of code in a line; escaped text where backticks or pipes forbid code."""
    line = " ".join(text.split())
    return Markdown(escaped(line) if "`" in line or "|" in line or not line else f"`{line}`")


def block(text: str, language: str = "") -> Markdown:
    """A block of code, fenced by more backticks than it holds in a row."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{text}\n{fence}")


def table(content: Table) -> Markdown:
    """A table; the second line of a cell follows in brackets."""
    heads = " | ".join(escaped(column.heading) for column in content.columns)
    rules = " | ".join("---:" if column.numeric else ":---" for column in content.columns)
    lines = [f"| {heads} |", f"| {rules} |"]
    for row in content.rows:
        shown = (
            f"{escaped(cell.text)} ({escaped(cell.note)})" if cell.note else escaped(cell.text)
            for cell in row
        )
        lines.append(f"| {' | '.join(shown)} |")
    return Markdown("\n".join(lines))


def front_matter(fields: Mapping[str, object]) -> Markdown:
    """YAML front matter. Every value is written as JSON, which YAML reads, so nothing escapes."""
    lines: list[str] = ["---"]
    for key, value in fields.items():
        lines.extend(_yaml(key, value))
    return Markdown("\n".join([*lines, "---"]))


def _yaml(key: str, value: object) -> Sequence[str]:
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return [f"{key}:", *(f"- {_json(item)}" for item in value)]
    return [f"{key}: {_json(value)}"]


def _json(value: object) -> str:
    """JSON that YAML reads too: surrogate pairs would not survive, unprintable signs not at all."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
