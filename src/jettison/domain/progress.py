"""How a long stage tells a person where it stands, without knowing who listens."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Protocol

from jettison.domain.disk_faults import named


class Progress(Protocol):
    """Listens to a run."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; `total` steps are expected, `None` when unknown."""
        ...

    def advance(self, note: str = "") -> None:
        """One step of the current stage is done."""
        ...

    def say(self, line: str) -> None:
        """A sentence that a person should see now."""
        ...

    def show(self, view: object) -> None:
        """A table that a terminal can draw (any rich renderable)."""
        ...


class Silent:
    """Listens and shows nothing."""

    def stage(self, name: str, total: int | None = None) -> None:
        """Ignores the stage."""

    def advance(self, note: str = "") -> None:
        """Ignores the step."""

    def say(self, line: str) -> None:
        """Ignores the sentence."""

    def show(self, view: object) -> None:
        """Ignores the table."""


class Journal:
    """Passes everything on, and keeps the words with their time in the log of the run."""

    def __init__(self, listener: Progress, path: Path) -> None:
        self._listener = listener
        self._path = path

    def stage(self, name: str, total: int | None = None) -> None:
        """Notes and passes on a stage."""
        self._note(f"stage {name}")
        self._listener.stage(name, total)

    def advance(self, note: str = "") -> None:
        """Notes and passes on a step that has something to say."""
        if note:
            self._note(note)
        self._listener.advance(note)

    def say(self, line: str) -> None:
        """Notes and passes on a sentence."""
        self._note(line)
        self._listener.say(line)

    def show(self, view: object) -> None:
        """Passes on a table; what it shows stands in the record of the run."""
        self._listener.show(view)

    def _note(self, line: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with named(self._path), open(self._path, "a", encoding="utf-8") as log:
            log.write(f"{now} {line}\n")
