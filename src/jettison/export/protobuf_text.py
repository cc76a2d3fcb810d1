"""Protobuf's text format, as far as a model configuration needs it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

WIDTH = 96
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Block:
    """A message field: a name, and inside it fields (`key: value`) and other blocks."""

    def __init__(self, name: str, *inside: str | Block) -> None:
        self.name = name
        self.inside = inside


def rendered(block: Block) -> Iterator[str]:
    """The lines of a block, two blanks deeper for each level."""
    yield f"{block.name} {{"
    for part in block.inside:
        for line in (part,) if isinstance(part, str) else rendered(part):
            yield f"  {line}"
    yield "}"


def quoted(text: str) -> str:
    r"""A string literal; other control characters become three octal digits.

    >>> print(quoted('a "b" \\'))
    "a \"b\" \\"
    """
    inside = "".join(
        ESCAPES.get(c) or (f"\\{ord(c):03o}" if ord(c) < 32 or ord(c) == 127 else c) for c in text
    )
    return f'"{inside}"'


def comment(sentence: str) -> list[str]:
    """Comment lines; whatever breaks lines inside the sentence becomes a blank."""
    return [f"# {line}" for line in textwrap.wrap(" ".join(sentence.split()), WIDTH)]
