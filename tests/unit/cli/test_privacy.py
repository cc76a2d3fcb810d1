"""`jettison privacy`: what was asked to be checked is checked, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jettison.cli import app
from jettison.errors import CheckFailed, UsageError


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Three rows, of which one is alone."""
    path = tmp_path / "rows.csv"
    path.write_text("age,body\n30,a\n30,b\n41,me@example.org\n")
    return str(path)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--text", "body", "--k", "5"], "`--k` can't be given without --quasi"),
        (["--text", "body", "--target", "age"], "`--target`"),
        (["--quasi", "age", "--forbid", "any"], "`--forbid` can't be given without --text"),
        (["--quasi", "age", "--text-model", "m", "--text-python", "p"], "`--text-python`"),
    ],
)
def test_a_check_that_would_not_be_made_is_refused(file: str, words: list[str], named: str) -> None:
    """A gate that was asked for may not pass because it was not looked at."""
    error = CliRunner().invoke(app, ["privacy", file, *words]).exception
    assert isinstance(error, UsageError)
    assert named in str(error)


def test_a_class_that_is_too_small_fails(file: str) -> None:
    """With its columns the same option decides; a k below 0 is a mistake (exit code 2)."""
    words = ["privacy", file, "--quasi", "age", "--k"]
    assert isinstance(CliRunner().invoke(app, [*words, "2"]).exception, CheckFailed)
    assert CliRunner().invoke(app, [*words, "1"]).exit_code == 0
    assert CliRunner().invoke(app, [*words, "-1"]).exit_code == 2
