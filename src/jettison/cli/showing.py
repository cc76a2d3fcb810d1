"""How commands show progress, results and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer


def with_progress(work: Callable[[Any], Any]) -> Any:
    """Does a piece of work with its progress on the terminal; Ctrl-C ends it with exit code 4."""
    from rich.console import Console

    from jettison.reporting.live_progress import TerminalProgress

    try:
        with TerminalProgress(Console(stderr=True)) as progress:
            return work(progress)
    except KeyboardInterrupt:
        print("jettison: interrupted; what was finished is kept in the run folder", file=sys.stderr)
        raise typer.Exit(4) from None


def finish(record: Any, folder: Path) -> None:
    """Shows how a run ended, and ends with its exit code."""
    from jettison.reporting import terminal

    show(terminal.summary(record))
    print(f"report: {folder / 'report.html'}")
    if record.shipped:
        print(f"bundle: {folder / 'release'}")
    raise typer.Exit(record.exit_code)


def show(*parts: Any) -> None:
    """Prints text, tables and panels."""
    from rich.console import Console

    console = Console()
    for part in parts:
        console.print(part)
