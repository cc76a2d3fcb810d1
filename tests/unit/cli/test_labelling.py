"""Commands about rows that a person should look at."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from jettison.cli import app
from jettison.errors import UsageError


def test_a_wrong_name_does_not_become_a_folder(tmp_path: Path) -> None:
    """`jettison label` of a run that is not there says so, and leaves nothing behind."""
    error = CliRunner().invoke(app, ["label", str(tmp_path / "absent")]).exception
    assert isinstance(error, UsageError)
    assert "holds no finished run" in str(error)
    assert list(tmp_path.iterdir()) == []
