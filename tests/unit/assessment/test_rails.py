"""Rails are asked in another interpreter, and what they decide becomes the file that is certified.

The real package needs an environment of its own (docs/guardrails.md tells with which version it was
tried), so a small one with the same names stands on the path of the worker here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jettison.assessment.guard_judging_files import read_guardrail
from jettison.assessment.rails import ask_rails
from jettison.cli.guarding import ask_rails as command
from jettison.errors import CandidateFailed, DataError, MissingDependency, UsageError

PACKAGE = """
import os, sys
assert os.environ["NEMO_GUARDRAILS_NO_USAGE_STATS"] == "1"
class RailsConfig:
    @staticmethod
    def from_path(path):
        return open(os.path.join(path, "words")).read().split()
class Found:
    def __init__(self, status, content, rail): self.status, self.content, self.rail = status, content, rail
class LLMRails:
    def __init__(self, words): self.words = words
    def check(self, messages, kinds):
        print("an action may print")
        text = messages[-1]["content"]
        if "crash" in text:
            return Found("blocked", "I'm sorry, an internal error has occurred.", "words")
        hit = any(word in text for word in self.words)
        return Found("blocked" if hit else "passed", text, "words" if hit else None)
"""
TYPES = "class RailType(str):\n    pass\n"


@pytest.fixture
def rails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    package = tmp_path / "path" / "nemoguardrails"
    (package / "rails" / "llm").mkdir(parents=True)
    for folder in (package / "rails", package / "rails" / "llm"):
        (folder / "__init__.py").write_text("")
    (package / "__init__.py").write_text(PACKAGE)
    (package / "rails" / "llm" / "options.py").write_text(TYPES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    folders = tmp_path / "before", tmp_path / "after"
    for folder, words in zip(folders, ("bomb gun", "gun")):
        folder.mkdir()
        (folder / "words").write_text(words)
    return folders


def table(folder: Path, *texts: str, header: str = "request,expected,site") -> Path:
    path = folder / "requests.csv"
    path.write_text("\n".join([header, *(f'"{text}",block,a' for text in texts)]) + "\n")
    return path


def test_decisions_become_the_table_that_is_certified(
    rails: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each side's decisions stand beside the rows, in order; commas and further columns survive."""
    requests = table(tmp_path, "a bomb, please", "a gun", "a cat")
    out = tmp_path / "decisions.csv"
    command(requests, before=rails[0], after=rails[1], out=out)
    told = capsys.readouterr().out
    assert "before: 2 of 3 blocked (words: 2)" in told
    assert "after: 1 of 3 blocked (words: 1)" in told
    missed = read_guardrail(out, ("site",))[0]
    assert missed.raw == ("a bomb, please", "a gun", "a cat")
    assert missed.before.tolist() == [0, 0, 1]
    assert missed.after.tolist() == [1, 0, 1]


def test_output_rails_see_the_answer(rails: tuple[Path, Path], tmp_path: Path) -> None:
    """With `output` the answer is judged, not the request."""
    requests = tmp_path / "requests.csv"
    requests.write_text("request,answer\na gun,hello\nhello,a gun\n")
    before, after = ask_rails(requests, rails, "output", "", tmp_path / "d.csv")
    assert before.blocked == after.blocked == (False, True)


def test_a_failed_rail_decides_nothing(rails: tuple[Path, Path], tmp_path: Path) -> None:
    """NeMo blocks when an action of a rail raises; that is refused, and no table is written."""
    out = tmp_path / "d.csv"
    with pytest.raises(CandidateFailed, match="rail `words` failed on row 1"):
        ask_rails(table(tmp_path, "a cat", "crash"), rails, "input", "", out)
    assert not out.exists()


def test_a_request_that_quotes_a_failure_is_a_request(
    rails: tuple[Path, Path], tmp_path: Path
) -> None:
    """NeMo hands back what passes; its words for a failed rail in there stop nobody's run."""
    quoted = "I'm sorry, an internal error has occurred."
    before, _ = ask_rails(table(tmp_path, quoted, "a gun"), rails, "input", "", tmp_path / "d.csv")
    assert before.blocked == (False, True)
    with pytest.raises(CandidateFailed, match="failed on row 0"):
        ask_rails(table(tmp_path, f"crash {quoted}"), rails, "input", "", tmp_path / "e.csv")


def test_line_ends_and_quotes_in_requests_survive(rails: tuple[Path, Path], tmp_path: Path) -> None:
    """A carriage return alone in a request ends no line of the table that is written."""
    out = tmp_path / "d.csv"
    asked = "a\rgun", 'say ""cat""\nhere'
    ask_rails(table(tmp_path, *asked), rails, "input", "", out)
    assert read_guardrail(out)[0].raw == ("a\rgun", 'say "cat"\nhere')


def test_the_other_python_may_be_older(rails: tuple[Path, Path], tmp_path: Path) -> None:
    """No option of the interpreter is used that Python 3.10 lacks; our folder is no place of imports."""
    shown = tmp_path / "python"
    shown.write_text(
        '#!/bin/sh\n[ "$1" = -P ] && exit 2\n[ "$PYTHONSAFEPATH" = 1 ] || exit 3\n'
        f'exec {sys.executable} "$@"\n'
    )
    shown.chmod(0o755)
    before, _ = ask_rails(table(tmp_path, "a gun"), rails, "input", str(shown), tmp_path / "d.csv")
    assert before.blocked == (True,)


def test_bad_input_is_refused(rails: tuple[Path, Path], tmp_path: Path) -> None:
    """No column, decisions that stand there already, no such folder, kind or package."""
    out = tmp_path / "d.csv"
    with pytest.raises(DataError, match="lacks answer"):
        ask_rails(table(tmp_path, "a"), rails, "output", "", out)
    with pytest.raises(DataError, match="already has blocked_after"):
        ask_rails(table(tmp_path, "a", header="request,x,blocked_after"), rails, "input", "", out)
    with pytest.raises(UsageError, match="config"):
        ask_rails(table(tmp_path, "a"), (rails[0], tmp_path / "no"), "input", "", out)
    with pytest.raises(UsageError, match="got dialog"):
        command(table(tmp_path, "a"), before=rails[0], after=rails[1], kind="dialog")
    (tmp_path / "path" / "nemoguardrails" / "__init__.py").unlink()
    with pytest.raises(MissingDependency, match="environment of its own"):
        ask_rails(table(tmp_path, "a"), rails, "input", "", out)
