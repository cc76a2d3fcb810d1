"""Options beside a configuration file: refused by name, never dropped without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from jettison.cli import app
from jettison.errors import ConfigError, UsageError

TAKES_A_FILE = {
    "optimize": ["--output", "y", "--trials", "3", "--ledger", "l", "--group", "site"],
    "advise": ["--data", "rows.csv", "--threads", "2"],
    "profile": ["--task", "regression", "--input", "text"],
    "plan": ["--threads", "2", "--target", "label", "--image", "mean=0.5"],
    "init": ["--target", "label"],
}


def run(*words: str) -> BaseException | None:
    return CliRunner().invoke(app, list(words)).exception


@pytest.mark.parametrize("command", TAKES_A_FILE)
def test_options_beside_a_file_are_refused_by_name(command: str, tmp_path: Path) -> None:
    """One message names each option that was typed, before the file is read."""
    words = TAKES_A_FILE[command]
    error = run(command, str(tmp_path / "x.toml"), *words)
    assert isinstance(error, UsageError)
    assert not isinstance(error, ConfigError)
    for option in words[::2]:
        assert f"`{option}`" in str(error)


def test_a_default_that_was_typed_counts(tmp_path: Path) -> None:
    """`--trials 40` beside a file that says 10 would be dropped just as well."""
    error = run("optimize", str(tmp_path / "x.toml"), "--trials", "40")
    assert "`--trials` can't be given" in str(error)


@pytest.mark.parametrize("words", [[], ["--no-certify"]])
def test_what_stands_in_no_file_goes_with_one(words: list[str], tmp_path: Path) -> None:
    """Without options, or with `--no-certify`, the file is read: here it is not there."""
    assert isinstance(run("optimize", str(tmp_path / "x.toml"), *words), ConfigError)


def test_options_go_with_a_model(tmp_path: Path) -> None:
    """The same options beside a model are read; what is wrong with them is told."""
    error = run("optimize", str(tmp_path / "m.onnx"), "--trials", "0")
    assert isinstance(error, ConfigError)
    assert "`trials` in `search`" in str(error)


@pytest.mark.parametrize("command", ["advise", "profile", "plan"])
def test_columns_are_named_to_plan_as_to_optimize(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What messages of these commands ask for (`--input`, `--model-input`) are options of theirs."""
    from jettison import preparation

    asked = []
    monkeypatch.setattr(preparation, "prepare", lambda given, progress: asked.append(given))
    words = ["--data", "rows.csv", "--target", "label", "--input", "text", "--image", "mean=0.5"]
    words += ["--weights", "net.pt", "--model-input", "x: float32[batch, 3]", "--trust-pickle"]
    words += ["--prediction", "note"]
    run(command, str(tmp_path / "m.onnx"), *words)
    (given,) = asked
    assert (given.data.target, given.data.inputs) == ("label", ("text",))
    assert given.image is not None
    assert given.image.mean == (0.5,)
    assert given.model.weights == "net.pt"
    assert given.model.inputs == ("x: float32[batch, 3]",)
    assert given.model.prediction == "note"
    assert given.model.trust_pickle


def test_the_output_that_counts_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`init --prediction` says in the file what the option says."""
    monkeypatch.chdir(tmp_path)
    assert run("init", "pitch.onnx", "--prediction", "note") is None
    assert 'prediction = "note"' in Path("jettison.toml").read_text()
