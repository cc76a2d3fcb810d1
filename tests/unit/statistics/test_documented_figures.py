"""What `docs/certification.md` says is what the code and the stored benchmark give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jettison.statistics import floor_rows, rows_needed

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "certification.md"
RESULTS = ROOT / "benchmarks" / "results" / "certification.json"


def table_of_rows() -> list[list[str]]:
    """Reads the table of rows needed from the page."""
    section = PAGE.read_text(encoding="utf-8").split("## Rows needed")[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_rows_needed_on_the_page_are_those_of_the_code() -> None:
    """Each cell of the table with at most 3000 rows is computed again."""
    header, _, *body = table_of_rows()
    disagreements = [float(cell.rstrip(" %")) / 100 for cell in header[2:]]
    assert len(body) == 5
    for name, floor, *cells in body:
        margin = round(float(name.rstrip(" %")) / 100, 6)
        assert int(floor) == floor_rows(margin)
        for disagreement, cell in zip(disagreements, cells, strict=True):
            for drop, rows in zip((0.0, 0.002), cell.split(" / "), strict=True):
                if int(rows) <= 3000:
                    assert rows_needed(margin, round(disagreement, 6), drop) == int(rows)


def test_no_stored_rate_is_beyond_its_error_rate() -> None:
    """Stored false-ship rates of the procedure and sizes of its tests keep to alpha."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    product = [r for r in rows if r["metric"] == "false_ship" and "sequence" in r["method"]]
    sizes = [r for r in rows if r["metric"] == "size" and r["method"].startswith("Tango")]
    assert len(product) >= 10
    assert len(sizes) >= 40
    assert all(r["value"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / r["n"]) for r in product)
    assert all(r["value"] <= r["reference"] for r in sizes)


def test_the_page_shows_the_stored_rates() -> None:
    """Each false-ship rate and each power in the results file is printed on the page."""
    page = PAGE.read_text(encoding="utf-8")
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    shown = [r for r in rows if r["metric"] in ("false_ship", "ships_fine")]
    missing = [r["model"] for r in shown if f"| {100 * r['value']:.1f} %" not in page]
    assert missing == []
    assert "@" not in page


@pytest.mark.parametrize("phrase", ["not** a promise", "`undecided` is not a pass"])
def test_the_page_says_what_is_not_promised(phrase: str) -> None:
    """The limits stand on the page beside the promise."""
    assert phrase in PAGE.read_text(encoding="utf-8")
