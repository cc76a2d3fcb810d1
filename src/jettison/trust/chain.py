"""A chain of JSON lines on disk: append-only, and every change to it shows.

Each line holds the digest of the line before it, so that a changed, inserted or missing line
shows; `head.json` beside it tells the last line, so that lines cut off the end show too.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jettison.domain.files import append_line, write_atomically
from jettison.errors import CheckFailed

EntryKind = Literal["look", "opened", "asked", "certificate", "bundle", "revealed"]
KINDS: tuple[EntryKind, ...] = ("look", "opened", "asked", "certificate", "bundle", "revealed")
Facts = Mapping[str, str | int | float]

GENESIS = "0" * 64
LINES = "ledger.jsonl"
HEAD = "head.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        number: of the line, from 1.
        kind: `look` (charged), `opened` (the seal was opened), `asked` (a person is asked for the
            labels of some rows), `certificate` and `bundle` (what came of it).
        time: UTC, ISO 8601.
        look: digest of the look that it belongs to; empty for a look itself, or for none.
        facts: plain values, by kind.
        previous: digest of the line before.
    """

    number: int
    kind: EntryKind
    time: str
    look: str
    facts: Facts
    previous: str

    @property
    def digest(self) -> str:
        """SHA-256 of all of the above."""
        return hashlib.sha256(_canonical(self._body()).encode()).hexdigest()

    def line(self) -> str:
        """The line as it stands in the file, without its end."""
        return _canonical({**self._body(), "digest": self.digest})

    def _body(self) -> dict[str, Any]:
        return {
            "facts": dict(self.facts),
            "kind": self.kind,
            "look": self.look,
            "number": self.number,
            "previous": self.previous,
            "time": self.time,
        }


def append_entry(
    folder: Path, entries: Sequence[Entry], kind: EntryKind, look: str, facts: Facts
) -> Entry:
    """Writes the next line and syncs it to disk; the caller holds the lock.

    Raises:
        OSError: if it can't be written; the file is then as it was.
    """
    previous = entries[-1].digest if entries else GENESIS
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = Entry(len(entries) + 1, kind, now, look, facts, previous)
    if entries:
        # A crash may have left the head one line behind; a second one must not leave it two.
        _write_head(folder, entries[-1])
    lines = folder / LINES
    end = lines.stat().st_size if lines.exists() else 0
    append_line(lines, entry.line() + "\n")
    try:
        _write_head(folder, entry)
    except OSError:
        head = folder / HEAD
        if head.exists() and entry.digest in head.read_text():
            return entry  # Both are there; only the folder could not be synced.
        # The caller will say that nothing was written, so the line must not take effect.
        os.truncate(lines, end)
        raise
    return entry


def read_entries(folder: Path) -> tuple[Entry, ...]:
    """Reads and checks the whole chain; the caller holds the lock.

    Raises:
        CheckFailed: if the chain is broken or a line can't be read; names the line.
    """
    path = folder / LINES
    try:
        text = path.read_bytes() if path.exists() else b""
        head = (folder / HEAD).read_bytes() if (folder / HEAD).exists() else b""
    except OSError as error:
        raise CheckFailed(f"the ledger {path} can't be read: {error}") from error
    lines = text.split(b"\n")
    if lines.pop():
        raise CheckFailed(
            f"line {len(lines) + 1} of {path} is incomplete: the machine stopped while it was "
            "written, before it took effect; delete that line to go on"
        )
    entries: list[Entry] = []
    for line in lines:
        entries.append(_parse(line, entries, path))
    _check_head(head, entries, path)
    return tuple(entries)


def _parse(line: bytes, before: Sequence[Entry], path: Path) -> Entry:
    number = len(before) + 1
    previous = before[-1].digest if before else GENESIS
    try:
        told = json.loads(line)
        entry = Entry(
            number=int(told["number"]),
            kind=told["kind"],
            time=str(told["time"]),
            look=str(told["look"]),
            facts=dict(told["facts"]),
            previous=str(told["previous"]),
        )
        same = entry.line().encode() == line
    except (ValueError, KeyError, TypeError) as error:
        raise CheckFailed(f"line {number} of {path} is no ledger entry: {error}") from error
    if not same:
        raise CheckFailed(f"line {number} of {path} was changed after it was written")
    if entry.number != number or entry.previous != previous or entry.kind not in KINDS:
        raise CheckFailed(f"line {number} of {path} does not follow the line before it")
    return entry


def _check_head(head: bytes, entries: Sequence[Entry], path: Path) -> None:
    """Compares the end of the file with what the last writer said; it may be one line ahead."""
    try:
        told: dict[str, Any] = json.loads(head) if head else {"entries": 0, "digest": GENESIS}
        count, digest = int(told["entries"]), str(told["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckFailed(f"{path.with_name(HEAD)} can't be read: {error}") from error
    if len(entries) < count:
        raise CheckFailed(
            f"line {len(entries) + 1} of {path} is missing: {count} lines were written"
        )
    reached = entries[count - 1].digest if count else GENESIS
    if reached != digest or len(entries) > count + 1:
        raise CheckFailed(
            f"line {max(count, 1)} of {path} is not the one that {HEAD} recorded: the file was "
            "replaced or extended by something else"
        )


def _write_head(folder: Path, last: Entry) -> None:
    text = _canonical({"entries": last.number, "digest": last.digest})
    path = folder / HEAD
    if not path.exists() or path.read_text() != text:
        write_atomically(path, text)


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
