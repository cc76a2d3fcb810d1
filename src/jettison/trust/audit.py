"""The audit trail: every decision of a run, one JSON line each, chained by digests, signed if asked.

The form is that of the ledger (`jettison.trust.chain`): each line holds the digest of the line
before it, and a head file beside it tells the last one. It differs in what it may hold (any plain
facts), in saying who acted, and in that it is one file, so that a bundle can carry a copy.
"""

from __future__ import annotations

import dataclasses
import datetime
import getpass
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jettison.domain.files import append_line, write_atomically
from jettison.errors import CheckFailed
from jettison.trust.chain import GENESIS
from jettison.trust.signing import Signer, signed_by

AUDIT = "audit.jsonl"
PURPOSE = "jettison audit entry "
"""Stands before what is signed, so that no signature made for something else fits."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line.

    Attributes:
        number: of the line, from 1.
        kind: what happened (`run_started`, `trial`, `look`, `approved`, ...).
        time: UTC, ISO 8601.
        who: name of the person or account.
        facts: plain values, by kind.
        previous: digest of the line before.
        key: public key of the signer; empty when unsigned.
        signature: of the digest, by that key; empty when unsigned.
    """

    number: int
    kind: str
    time: str
    who: str
    facts: Mapping[str, Any]
    previous: str
    key: str = ""
    signature: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all of the above but the signature."""
        return hashlib.sha256(_canonical(self._body()).encode()).hexdigest()

    def line(self) -> str:
        """The line as it stands in the file, without its end."""
        return _canonical({**self._body(), "digest": self.digest, "signature": self.signature})

    def _body(self) -> dict[str, Any]:
        return {
            "facts": dict(self.facts),
            "key": self.key,
            "kind": self.kind,
            "number": self.number,
            "previous": self.previous,
            "time": self.time,
            "who": self.who,
        }


def account() -> str:
    """The name of the user account that runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "an account without a name"


@dataclass(frozen=True, slots=True)
class Trail:
    """A trail that this process adds to; the caller holds the folder.

    Attributes:
        path: of the file of lines.
        who: acts; empty for the user account.
        signer: signs each line; `None` for an unsigned trail.
    """

    path: Path
    who: str = ""
    signer: Signer | None = field(default=None, repr=False)

    def check(self) -> tuple[Event, ...]:
        """Reads what stands there, and tries whether more can be written; nothing is.

        For whoever does what can't be undone and must be told afterwards.

        Raises:
            CheckFailed: if what stands there is broken.
            OSError: if nothing can be added.
        """
        events = read_trail(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        there = self.path.exists()
        with open(self.path, "ab"):
            pass
        if not there:
            self.path.unlink()
        return events

    def append(self, kind: str, facts: Mapping[str, Any]) -> Event:
        """Writes the next line; see `extend`."""
        return self.extend([(kind, facts)])[0]

    def extend(self, happened: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[Event, ...]:
        """Writes the next lines, each a kind and its facts, and syncs them to disk.

        Raises:
            CheckFailed: if what stands there is broken: nothing is added to a broken trail.
            OSError: if it can't be written.
        """
        before = read_trail(self.path)
        events = list(before)
        for kind, facts in happened:
            if events:
                # A crash may have left the head one line behind; a second one must not leave it two.
                _write_head(self.path, events[-1])
            events.append(self._event(kind, facts, events))
            append_line(self.path, events[-1].line() + "\n")
            _write_head(self.path, events[-1])
        return tuple(events[len(before) :])

    def _event(self, kind: str, facts: Mapping[str, Any], before: Sequence[Event]) -> Event:
        event = Event(
            number=len(before) + 1,
            kind=kind,
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            who=self.who or account(),
            facts=json.loads(_canonical(facts)),
            previous=before[-1].digest if before else GENESIS,
            key=self.signer.public if self.signer is not None else "",
        )
        if self.signer is None:
            return event
        return dataclasses.replace(event, signature=self.signer.sign(PURPOSE + event.digest))


def read_trail(path: Path) -> tuple[Event, ...]:
    """Reads a trail and checks its chain, its signatures, and its head where one lies beside it.

    Args:
        path: of the file of lines; one that does not exist is an empty trail.

    Raises:
        CheckFailed: names the line that is broken, and how.
    """
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    except OSError as error:
        raise CheckFailed(f"the trail {path} can't be read: {error}") from error
    if lines.pop():
        raise CheckFailed(
            f"line {len(lines) + 1} of {path} is incomplete: the machine stopped while it was "
            "written; delete that line to go on"
        )
    events: list[Event] = []
    for line in lines:
        events.append(_parse(line, events, path))
    _check_head(events, path)
    return tuple(events)


def last_run(events: Sequence[Event]) -> Sequence[Event]:
    """The lines of the run that began last; all lines where none says that it began."""
    starts = [place for place, event in enumerate(events) if event.kind == "run_started"]
    return events[starts[-1] :] if starts else events


def head_of(path: Path) -> Path:
    """The file beside a trail that tells its last line."""
    return path.with_name(f"{path.stem}.head.json")


def signers_of(events: Sequence[Event]) -> tuple[str, ...]:
    """Public keys that signed; an empty text among them stands for unsigned lines."""
    return tuple(sorted({event.key for event in events}))


def _parse(line: bytes, before: Sequence[Event], path: Path) -> Event:
    number = len(before) + 1
    where = f"line {number} of {path}"
    try:
        told = json.loads(line)
        event = Event(
            number=int(told["number"]),
            kind=str(told["kind"]),
            time=str(told["time"]),
            who=str(told["who"]),
            facts=dict(told["facts"]),
            previous=str(told["previous"]),
            key=str(told["key"]),
            signature=str(told["signature"]),
        )
        same = event.line().encode() == line
    except (ValueError, KeyError, TypeError) as error:
        raise CheckFailed(f"{where} is no entry of an audit trail: {error}") from error
    if not same:
        raise CheckFailed(f"{where} was changed after it was written")
    if event.number != number or event.previous != (before[-1].digest if before else GENESIS):
        raise CheckFailed(f"{where} does not follow the line before it")
    if event.key and not signed_by(event.key, PURPOSE + event.digest, event.signature):
        raise CheckFailed(f"{where} is not signed by the key {event.key[:12]} that it names")
    return event


def _check_head(events: Sequence[Event], path: Path) -> None:
    """Compares the end of the file with what the last writer said; it may be one line ahead."""
    head = head_of(path)
    if not head.exists():
        return
    try:
        told = json.loads(head.read_bytes())
        count, digest = int(told["entries"]), str(told["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckFailed(f"{head} can't be read: {error}") from error
    if len(events) < count:
        raise CheckFailed(
            f"line {len(events) + 1} of {path} is missing: {count} lines were written"
        )
    if len(events) > count + 1 or (count > 0 and events[count - 1].digest != digest):
        raise CheckFailed(
            f"line {max(count, 1)} of {path} is not the one that {head.name} recorded: the file "
            "was replaced or extended by something else"
        )


def _write_head(path: Path, last: Event) -> None:
    text = _canonical({"digest": last.digest, "entries": last.number})
    head = head_of(path)
    if not head.exists() or head.read_text() != text:
        write_atomically(head, text)


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
