"""Where each key of a TOML file stands. `tomllib` gives values without places.

The scanner walks text that `tomllib` has already accepted, so it need not judge, only find.
"""

from __future__ import annotations

import bisect
import re
import tomllib

KeyPath = tuple[str, ...]
"""Names from the root; the n-th element of an array (of tables) is `str(n)`, from 0."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"{3,5}'
    r"|'''[\s\S]*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
)
_PLAIN = re.compile(r"[^,\]\}#\n]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    r"""Gives the line, from 1, on which each key and each array element first stands.

    Args:
        text: a valid TOML document.

    >>> key_lines("a = 1\n[b]\nc.d = [2,\n 3]\n")[("b", "c", "d", "1")]
    4
    """
    return _Scanner(text.replace("\r\n", "\n")).document()


class _Scanner:
    """One walk through one document."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.newlines = [m.start() for m in re.finditer("\n", text)]
        self.found: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self.take(_BLANK)
        while self.place < len(self.text):
            if self.text.startswith("[[", self.place):
                table = self.array_header()
            elif self.text[self.place] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.take(_BLANK)
        return self.found

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.place)
        if match is None:
            return ""
        self.place = match.end()
        return match.group()

    def note(self, path: KeyPath) -> None:
        line = bisect.bisect_left(self.newlines, self.place) + 1
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], line)

    def inside(self, names: KeyPath) -> KeyPath:
        """The path of a table, through the last element of each array of tables on the way."""
        path: KeyPath = ()
        for name in names:
            path = (*path, name)
            if path in self.tables:
                path = (*path, str(self.tables[path]))
        return path

    def header(self) -> KeyPath:
        start = self.place
        self.place += 1
        names = self.key()
        path = self.inside(names)
        end, self.place = self.place, start
        self.note(path)
        self.place = end + 1
        return path

    def array_header(self) -> KeyPath:
        start = self.place
        self.place += 2
        names = self.key()
        array = (*self.inside(names[:-1]), names[-1])
        self.tables[array] = self.tables.get(array, -1) + 1
        path = self.inside(names)
        end, self.place = self.place, start
        self.note(path)
        self.place = end + 2
        return path

    def key(self) -> KeyPath:
        names: list[str] = []
        while True:
            self.take(_SPACE)
            quoted = self.take(_STRING)
            names.append(tomllib.loads(f"x = {quoted}")["x"] if quoted else self.take(_BARE))
            self.take(_SPACE)
            if not self.text.startswith(".", self.place):
                return tuple(names)
            self.place += 1

    def pair(self, table: KeyPath) -> None:
        start = self.place
        path = (*table, *self.key())
        end, self.place = self.place, start
        self.note(path)
        self.place = end + 1
        self.take(_SPACE)
        self.value(path)

    def value(self, path: KeyPath) -> None:
        opening = self.text[self.place]
        if opening == "[":
            self.elements(path)
        elif opening == "{":
            self.place += 1
            self.take(_BLANK)
            while self.text[self.place] != "}":
                self.pair(path)
                self.separator()
            self.place += 1
        elif not self.take(_STRING):
            self.take(_PLAIN)

    def elements(self, path: KeyPath) -> None:
        self.place += 1
        self.take(_BLANK)
        count = 0
        while self.text[self.place] != "]":
            element = (*path, str(count))
            self.note(element)
            self.value(element)
            self.separator()
            count += 1
        self.place += 1

    def separator(self) -> None:
        self.take(_BLANK)
        if self.text[self.place] == ",":
            self.place += 1
            self.take(_BLANK)
