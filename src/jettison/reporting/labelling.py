"""What the terminal says while rows wait for labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

SHOWN = 12


class Waiting(Protocol):
    """Rows that wait for a person, out of `asked.rows`."""

    @property
    def folder(self) -> Path: ...
    @property
    def tasks(self) -> Sequence[object]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def asked(self) -> Any: ...


def waiting(labelling: Waiting, run: Path) -> RenderableType:
    """How many rows to label, where they are, and what to type."""
    n, some = len(labelling.tasks), labelling.classes[:SHOWN]
    classes = ", ".join(some) + (", ..." if len(labelling.classes) > SHOWN else "")
    file = labelling.folder / "to_label.csv"
    text = Text(
        f"{n:,} of {labelling.asked.rows.n:,} sealed rows need a label: those on which the models "
        f"differ. The look is spent; the certificate waits for the labels.\n"
        f"Labels: {classes}\n"
    )
    text.append(
        f"In the browser:  jettison label {run} --page\n"
        f"In a table:      fill in the column `label` of {file}, then\n"
        f"                 jettison label {run} --answers {file}",
        style="dim",
    )
    return Panel(text, title=Text("labels wanted"), title_align="left", border_style="cyan")
