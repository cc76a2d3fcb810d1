"""Checks values of one table against the table of keys, and collects every mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jettison.config.keys import REQUIRED, SECTIONS, Key, keys_of
from jettison.config.toml_lines import KeyPath

NUMBERS = frozenset({"weights", "mean", "std", "size", "spending"})
"""Lists in which a value may stand twice."""

Known = Mapping[str, Sequence[str]]
"""Plug-in family -> registered names."""


@dataclass(slots=True)
class Mistakes:
    """All that is wrong so far, each with its place.

    Attributes:
        known: plug-in names, for «did you mean».
        file: name shown with each mistake; empty for arguments given in Python or on a command.
        lines: where each key stands.
        problems: line and sentence, in the order found.
    """

    known: Known
    file: str = ""
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: KeyPath, sentence: str) -> None:
        """Notes one mistake at a key; a key that is absent stands where its table stands."""
        line = 0
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                line = self.lines[path[:length]]
                break
        place = f" ({self.file}, line {line})" if line else f" ({self.file})" if self.file else ""
        self.problems.append((line, sentence + place))

    def sentences(self) -> list[str]:
        """The mistakes in the order of the file."""
        return [sentence for _, sentence in sorted(self.problems, key=lambda item: item[0])]

    def unknown(self, path: KeyPath, what: str, allowed: Iterable[str]) -> None:
        """Notes a name that does not exist, with the nearest that do."""
        allowed = sorted(allowed)
        near = difflib.get_close_matches(path[-1], allowed, n=2, cutoff=0.6)
        hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
        self.add(path, f"{what}{hint} (allowed: {', '.join(allowed) or 'none'})")


def called(path: KeyPath) -> str:
    """How a message names a key: «`trials` in `search`», «`max_drop` in `require` 1»."""
    if path[0] in ("require", "contexts") and len(path) == 3:
        return f"`{path[2]}` in `{path[0]}` {int(path[1]) + 1}"
    if path[0] in ("ranges", "settings"):
        return f"`{'.'.join(path)}`"
    return f"`{path[-1]}` in `{path[0]}`" if len(path) > 1 else f"`{path[0]}`"


def plain(value: Any) -> Any:
    """Turns what Python callers pass (tuples, paths, NumPy scalars) into TOML's plain values."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__fspath__"):
        return str(value)
    return value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value


def checked_table(section: str, given: Any, path: KeyPath, mistakes: Mistakes) -> dict[str, Any]:
    """Gives the values of a table that are right, defaults filled in; notes the others."""
    keys = keys_of(section)
    if not isinstance(given, dict):
        mistakes.add(path, f"`{section}` must be a table of keys; got {given!r}")
        return {key.name: key.default for key in keys.values()}
    for name in given:
        if name not in keys:
            mistakes.unknown((*path, name), f"{called((*path, name))} is not a key", keys)
    return {name: _checked(key, given, (*path, name), mistakes) for name, key in keys.items()}


def _checked(key: Key, given: Mapping[str, Any], path: KeyPath, mistakes: Mistakes) -> Any:
    if key.name not in given:
        if key.default == REQUIRED and key.section != "require":
            mistakes.add(path, f"{called(path)} is missing; it must be {key.allowed}")
        return key.default
    value, fits = _validated(key, given[key.name])
    if not fits:
        mistakes.add(path, f"{called(path)} must be {key.allowed}; got {_shown(value)}")
        return key.default
    names = dict(enumerate(value)) if isinstance(value, list) else {"": value}
    if (
        isinstance(value, list)
        and len(set(map(str, value))) < len(value)
        and key.name not in NUMBERS
    ):
        mistakes.add(path, f"{called(path)} names something twice: {_shown(value)}; name it once")
    if key.family:
        for place, name in names.items():
            if name and name not in mistakes.known[key.family]:
                mistakes.add((*path, str(place)), _no_such_plugin(key.family, name, path, mistakes))
    return value


def _no_such_plugin(family: str, name: str, path: KeyPath, mistakes: Mistakes) -> str:
    allowed = sorted(mistakes.known[family])
    near = difflib.get_close_matches(name, allowed, n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
    kind = {"costs": "cost", "metrics": "quality metric"}.get(family, family.removesuffix("s"))
    return (
        f"{called(path)} names `{name}`, which is no installed {kind}{hint} "
        f"(installed: {', '.join(allowed) or 'none'})"
    )


def _validated(key: Key, value: Any) -> tuple[Any, bool]:
    """Gives the value as its declared type (30 -> 30.0) and whether it is allowed."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(key.check).validate_python(value, strict=True), True
    except ValidationError:
        return value, False


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return re.sub(r"^(.{80}).{20,}$", r"\1 ...", text)


def checked_sections(given: Mapping[str, Any], mistakes: Mistakes) -> None:
    """Notes tables and keys at the top of the file that do not exist."""
    allowed = {*keys_of(""), *SECTIONS}
    for name in given:
        if name not in allowed:
            mistakes.unknown((name,), f"`{name}` is not a key or a table", allowed)
