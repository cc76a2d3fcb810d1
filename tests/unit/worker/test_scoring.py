"""Outputs of all rows: numbers on disk, text, and what can't be read row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.model import Model
from jettison.domain.profile import LayerCost
from jettison.domain.rows import Rows
from jettison.errors import CandidateFailed
from jettison.worker.scoring import score


@dataclass
class Answers:
    """A runner that answers with a function of the batch."""

    function: Callable[[Any], dict[str, Any]]

    def run(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return self.function(batch["x"])

    def providers(self) -> Mapping[str, int]:
        return {}

    def layer_costs(self, batch: Mapping[str, Any]) -> tuple[LayerCost, ...]:
        return ()


def test_numbers_and_text_are_kept_in_row_order(network: Model, rows: Rows, tmp_path: Path) -> None:
    """Each output is one file with one entry per row, the last batch being smaller."""
    runner = Answers(
        lambda x: {"scores": x[:, :2], "label": np.array([f"{v:.3f}" for v in x[:, 0]])}
    )
    scored = score(runner, network, rows, tmp_path / "out", 10)
    x = rows.column("x")
    assert scored.outputs == ("label", "scores")
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "scores.npy"), x[:, :2])
    assert np.load(tmp_path / "out" / "label.npy")[-1] == f"{x[-1, 0]:.3f}"


def test_no_name_of_an_output_is_a_path(network: Model, rows: Rows, tmp_path: Path) -> None:
    """Names with slashes, as TensorFlow gives them, are files in the folder; none leads out of it."""
    before = {path.name for path in tmp_path.iterdir()}
    names = ("../../outside", "part/logits:0", "..", "a\\b")
    runner = Answers(lambda x: {"scores": x[:, :2], **dict.fromkeys(names, x)})
    scored = score(runner, network, rows, tmp_path / "deep" / "out", 10)
    assert set(scored.outputs) == {"scores", *names}
    for name in names:
        np.testing.assert_array_equal(np.load(scored.file(name)), rows.column("x"))
        assert scored.file(name).parent == tmp_path / "deep" / "out"
    assert {path.name for path in tmp_path.iterdir()} == before | {"deep"}
    assert len(list((tmp_path / "deep" / "out").iterdir())) == 1 + len(names)


def test_an_output_that_varies_with_the_batch_is_left_out(
    network: Model, rows: Rows, tmp_path: Path
) -> None:
    """A padded output has no one shape for all rows; its file is removed."""
    runner = Answers(lambda x: {"scores": x[:, :2], "tokens": np.zeros((len(x), len(x)))})
    scored = score(runner, network, rows, tmp_path / "out", 10)
    assert scored.outputs == ("scores",)
    assert not (tmp_path / "out" / "tokens.npy").exists()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"scores": np.zeros((len(x), len(x)))}, "can't be read row by row"),
        (lambda x: {"other": x}, "can't be read row by row"),
        (lambda x: {"scores": np.zeros((1, 4))}, "1 entries for a batch of 10 rows"),
    ],
)
def test_an_unreadable_prediction_is_an_error(
    function: Callable[[Any], dict[str, Any]],
    message: str,
    network: Model,
    rows: Rows,
    tmp_path: Path,
) -> None:
    """The output that metrics read must be there, row by row."""
    with pytest.raises(CandidateFailed, match=message):
        score(Answers(function), network, rows, tmp_path / "out", 10)
