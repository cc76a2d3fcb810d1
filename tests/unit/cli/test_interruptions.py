"""Ctrl-C ends a command as an interruption, not as a fault of jettison."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jettison.assessment import finding
from jettison.cli import app
from jettison.pipeline import verify


@pytest.mark.parametrize("command", ["find", "verify"])
def test_an_interruption_is_no_fault(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 4, as docs/errors.md says; 1 would be a fault of ours."""

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(finding, "find_in", interrupted)
    monkeypatch.setattr(verify, "verify", interrupted)
    done = CliRunner().invoke(app, [command, str(tmp_path)])
    assert done.exit_code == 4
    assert "interrupted" in done.output
