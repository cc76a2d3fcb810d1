"""Writes an assessment: `assessment.json` and the page."""

from __future__ import annotations

from pathlib import Path

from jettison.domain.assessment import Assessment
from jettison.domain.disk_faults import explained
from jettison.domain.files import write_atomically
from jettison.domain.record import to_json
from jettison.reporting.assessment_page import render_assessment

JSON, PAGE = "assessment.json", "assessment.html"


def write_assessment(record: Assessment, folder: Path) -> tuple[Path, Path]:
    """Writes both files into a folder, which is made if it is not there.

    Raises:
        UsageError: if they can't be written.
    """
    with explained(f"the assessment in {folder}", folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / JSON, to_json(record, indent=2) + "\n")
        write_atomically(folder / PAGE, render_assessment(record))
    return folder / JSON, folder / PAGE
