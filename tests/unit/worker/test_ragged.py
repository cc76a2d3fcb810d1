"""Outputs as long as their row: cut to its own length, filled with zeros, the same in any batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.model import Model, TensorSpec
from jettison.domain.rows import LENGTHS, Rows
from jettison.worker.ragged import OwnLengths, filled
from jettison.worker.scoring import score

LONG = np.array([3, 1, 4, 2, 7])


@pytest.fixture
def ragged(tmp_path: Path) -> Rows:
    """Five rows of 1 to 7 numbers."""
    folder = tmp_path / "ragged"
    folder.mkdir()
    values = np.zeros((5, 7), np.float32)
    for row, length in enumerate(LONG):
        values[row, :length] = row + 1
    np.save(folder / "x.npy", values)
    np.save(folder / f"{LENGTHS}.npy", LONG)
    return Rows(str(folder), ("x",), 5, {"x": 0.0})


def described(network: Model, axis: str) -> Model:
    return dataclasses.replace(
        network,
        inputs=(TensorSpec("x", "float32", ("batch", "time")),),
        outputs=(TensorSpec("scores", "float32", ("batch", axis, 2)),),
    )


class Echo:
    """Answers each place with two numbers, and padding with rubbish that depends on the batch."""

    def run(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        x = batch["x"]
        answer = np.stack([x, -x], axis=2)
        answer[x == 0] = 100.0 + x.shape[1]
        return {"scores": answer}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_scores_do_not_depend_on_the_batch(
    size: int, network: Model, ragged: Rows, tmp_path: Path
) -> None:
    """The file holds each row's own answers and zeros behind them, whatever ran beside it."""
    scored = score(Echo(), described(network, "time"), ragged, tmp_path / "out", size)  # type: ignore[arg-type]
    x = ragged.column("x")
    np.testing.assert_array_equal(np.load(scored.file("scores")), np.stack([x, -x], axis=2))


def test_rows_run_alone_where_their_length_is_lost(network: Model, ragged: Rows) -> None:
    """An output with a free axis of its own is never padded: a server can't cut it back."""
    assert OwnLengths.of(described(network, "time"), ragged).batch_size(8) == 8
    assert OwnLengths.of(described(network, "frames"), ragged).batch_size(8) == 1


def test_filling_never_cuts() -> None:
    """A smaller shape, and text, are left as they are."""
    wide = np.ones((2, 3))
    assert filled(wide, (2,)).shape == (2, 3)
    assert filled(wide, (4,)).sum() == 6
    assert filled(np.array([["a"]]), (2,)).shape == (1, 1)
