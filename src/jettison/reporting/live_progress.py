"""A run as it goes, in the terminal: stages, a bar with the time left, and what was found."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class TerminalProgress:
    """Shows stages and steps; a context manager, so that the terminal is left as it was found.

    Where the output is no terminal (a log file, CI), each finished stage and step is a plain line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._started = 0.0

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish()
        self._bars.stop()

    def stage(self, name: str, total: int | None = None) -> None:
        """Closes the stage before and opens this one; told again, it only learns its total."""
        if self._task is not None and name == self._name:
            self._bars.update(self._task, total=total)
            return
        self._finish()
        self._name, self._started = name, time.monotonic()
        self._task = self._bars.add_task(name, total=total)

    def advance(self, note: str = "") -> None:
        """Moves the bar and prints the note above it."""
        if self._task is not None:
            self._bars.advance(self._task)
        if note:
            self._console.print(f"  {note}", style="dim", highlight=False, markup=False)

    def say(self, line: str) -> None:
        """Prints a sentence above the bar."""
        self._console.print(line, highlight=False, markup=False)

    def show(self, view: object) -> None:
        """Draws a table above the bar."""
        self._console.print(view)

    def _finish(self) -> None:
        if self._task is None:
            return
        spent = time.monotonic() - self._started
        self._bars.remove_task(self._task)
        self._task = None
        self._console.print(f"{self._name}: {spent:.1f} s", highlight=False, markup=False)
