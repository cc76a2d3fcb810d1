"""Bad input at the command line: one clear error, exit code 2, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.conftest import Command, Given, looks


def refused(done: object, *words: str) -> None:
    """Exit code 2, no traceback, and every word is in the message."""
    code, text = done.returncode, done.stderr  # type: ignore[attr-defined]
    assert code == 2, text[-3000:]
    assert "Traceback" not in text
    for word in words:
        assert word in text, text


def test_a_model_that_is_not_there(jettison: Command) -> None:
    """The path is named."""
    refused(jettison("optimize", "absent.onnx"), "absent.onnx")


def test_a_pickle_is_refused(jettison: Command, tmp_path: Path) -> None:
    """A pickle can run any code, so it needs the explicit option."""
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04N.")
    refused(jettison("optimize", "model.pkl"), "trust_pickle")


def test_a_truncated_model(digits: Given, jettison: Command, tmp_path: Path) -> None:
    """Half a file is no model."""
    whole = digits.model.read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    refused(jettison("optimize", "half.onnx"), "half.onnx")


def test_a_misspelt_column(digits: Given, jettison: Command) -> None:
    """The nearest column is suggested."""
    done = jettison("optimize", str(digits.model), "--data", str(digits.data), "--target", "lable")
    refused(done, "lable", "label")


def test_a_target_that_is_also_an_input(digits: Given, jettison: Command) -> None:
    """A model that reads its own answer can't be judged by it."""
    done = jettison(
        "optimize",
        str(digits.model),
        "--data",
        str(digits.data),
        "--target",
        "Input3",
        "--input",
        "Input3",
    )
    refused(done, "Input3")


def test_infinite_features(digits: Given, jettison: Command, tmp_path: Path) -> None:
    """NaN and infinity are named with their row."""
    with np.load(digits.data) as data:
        images, labels = data["Input3"][:200].copy(), data["label"][:200]
    images[7] = np.inf
    np.savez(tmp_path / "bad.npz", Input3=images, label=labels)
    refused(jettison("optimize", str(digits.model), "--data", "bad.npz", "--target", "label"), "7")


def test_all_mistakes_of_a_configuration_at_once(jettison: Command, tmp_path: Path) -> None:
    """Three mistakes give three lines with their line numbers."""
    (tmp_path / "jettison.toml").write_text(
        'model = { source = "m.onnx" }\n'
        "search = { trials = 0, techniqes = [] }\n"
        'on_undecided = "maybe"\n'
    )
    refused(jettison("optimize", "jettison.toml"), "3 mistakes", "line 2", "line 3", "`techniques`")


def test_too_few_rows_are_told_before_the_seal_opens(
    digits: Given, jettison: Command, tmp_path: Path
) -> None:
    """A run that can't pass ends uncertified with the rows that it needs; no look is spent."""
    with np.load(digits.data) as data:
        np.savez(tmp_path / "few.npz", Input3=data["Input3"][:150], label=data["label"][:150])
    done = jettison(
        "optimize",
        str(digits.model),
        "--data",
        "few.npz",
        "--target",
        "label",
        "--minimise",
        "size_bytes",
        "--technique",
        "int8_static",
        "--trials",
        "1",
        "--ledger",
        "ledger",
    )
    assert done.returncode == 4, done.stderr[-3000:]
    assert "299" in done.stdout + done.stderr
    assert not looks(tmp_path / "ledger")


@pytest.mark.parametrize("command", ["optimize", "advise", "profile", "plan", "verify"])
def test_a_folder_that_is_no_model(jettison: Command, tmp_path: Path, command: str) -> None:
    """An empty folder is answered in one sentence by every command."""
    (tmp_path / "empty").mkdir()
    done = jettison(command, "empty")
    assert done.returncode in (2, 5)
    assert "Traceback" not in done.stderr
