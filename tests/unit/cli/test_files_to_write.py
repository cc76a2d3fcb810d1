"""A file that can't be written is refused before anything is computed for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jettison.cli import app
from jettison.errors import UsageError

COMMANDS = {
    "explain-changes": ["RUN", "--out"],
    "ask-rails": ["requests.csv", "--before", "a", "--after", "b", "--out"],
    "fit-guardrail": ["RUN", "--out"],
    "find": ["RUN", "--add-to", "next.parquet", "--out"],
    "claims": ["--json"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_not_there_is_told_first(command: str, tmp_path: Path) -> None:
    """Not after minutes, with a traceback; nor is a folder written over."""
    words = [command, *COMMANDS[command]]
    for out, told in ((tmp_path / "absent" / "x.out", "does not exist"), (tmp_path, "a folder")):
        error = CliRunner().invoke(app, [*words, str(out)]).exception
        assert isinstance(error, UsageError)
        assert str(out) in str(error)
        assert told in str(error)


def test_the_page_does_not_write_over_its_numbers(tmp_path: Path) -> None:
    """`--out changes.json` would be both the page and the file beside it."""
    words = ["explain-changes", str(tmp_path), "--out", str(tmp_path / "changes.json")]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, UsageError)
    assert "--out a .html file" in str(error)
