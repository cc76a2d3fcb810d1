"""How a long stage tells a person where it stands, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


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
