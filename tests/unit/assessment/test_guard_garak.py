"""Reports of garak: judged attempts only, one row an answer, old and new forms of a prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jettison.assessment.guard_garak import garak_table
from jettison.assessment.guard_judging_files import read_attacks
from jettison.errors import DataError


def attempt(prompt: Any, scores: dict[str, list[float | None]], status: int = 2) -> dict[str, Any]:
    return {
        "entry_type": "attempt",
        "status": status,
        "probe_classname": "dan.Dan_11_0",
        "prompt": prompt,
        "detector_results": scores,
    }


def said(text: str) -> dict[str, Any]:
    turns = [{"role": "system", "content": {"text": "be good"}}]
    return {"turns": [*turns, {"role": "user", "content": {"text": text}}], "notes": {}}


def report(path: Path, *entries: Any) -> Path:
    path.write_text("\n".join(json.dumps(entry) for entry in entries) + "\n")
    return path


def test_judged_answers_become_rows(tmp_path: Path) -> None:
    """The worst detector of each answer counts; set-up, evaluations and unjudged attempts don't."""
    path = report(
        tmp_path / "a.report.jsonl",
        {"entry_type": "start_run setup"},
        attempt(said("one"), {"d.A": [0.0, 1.0], "d.B": [0.2, 0.0]}),
        attempt("two", {"d.A": [None, 0.7]}),
        attempt(said("three"), {"d.A": [1.0]}, status=1),
        {"entry_type": "eval", "probe": "dan.Dan_11_0"},
    )
    table = garak_table(path)
    assert table.columns["prompt"].tolist() == ["be good\none", "be good\none", "two"]
    assert table.columns["outcome"].tolist() == [0.2, 1.0, 0.7]
    assert set(table.columns["category"]) == {"dan.Dan_11_0"}


def test_two_reports_are_paired(tmp_path: Path) -> None:
    """Answers to one prompt are averaged; attacks that one scan lacks are refused."""
    first = report(
        tmp_path / "a.report.jsonl",
        attempt(said("one"), {"d.A": [0.0, 1.0]}),
        attempt(said("two"), {"d.A": [0.0, 0.0]}),
    )
    other = report(tmp_path / "b.report.jsonl", attempt(said("one"), {"d.A": [1.0, 1.0]}))
    found = read_attacks(first, first)
    assert found.before.tolist() == [0.5, 0.0]
    assert found.repeated
    with pytest.raises(DataError, match="don't hold the same attacks"):
        read_attacks(first, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no attempt that was answered"),
        ("{", r"line 1 of .* is no entry"),
        (json.dumps(attempt(said("x"), {"d.A": [1.0], "d.B": []})), r"line 1 of .* is no entry"),
        (json.dumps({"entry_type": "attempt", "status": 2}), r"line 1 of .* is no entry"),
    ],
)
def test_a_broken_report_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """An empty file, half a line, and detectors that judged other numbers of answers."""
    path = tmp_path / "a.report.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        garak_table(path)
