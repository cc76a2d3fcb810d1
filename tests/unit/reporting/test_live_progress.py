"""A run as it goes, where the output is no terminal: plain lines."""

from __future__ import annotations

import io

from rich.console import Console

from jettison.reporting.live_progress import TerminalProgress


def test_each_stage_is_one_line() -> None:
    """A stage that is told again, now with its total, is still one stage with one time."""
    out = io.StringIO()
    with TerminalProgress(Console(file=out, width=80)) as progress:
        progress.stage("search", 2)
        progress.advance("a recipe measured")
        progress.stage("time finalists")
        progress.stage("time finalists", 40)
        progress.advance()
    lines = [line.split(":")[0].strip() for line in out.getvalue().splitlines()]
    assert lines == ["a recipe measured", "search", "time finalists"]
