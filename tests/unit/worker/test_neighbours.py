"""Batch dependence is found by running rows beside others and alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost
from jettison.domain.recipe import Step
from jettison.domain.rows import LENGTHS, Rows
from jettison.worker.neighbours import batch_dependence
from jettison.worker.workbench import prepare


@dataclass
class Answers:
    """A runner that answers with a function of the batch."""

    function: Callable[[Any], Any]

    def run(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {"scores": self.function(batch["x"])}

    def providers(self) -> Mapping[str, int]:
        return {}

    def layer_costs(self, batch: Mapping[str, Any]) -> tuple[LayerCost, ...]:
        return ()


def test_a_dynamic_int8_model_is_batch_dependent(dynamic_int8: Model, rows: Rows) -> None:
    """Activation ranges over the whole batch move a row's answer, whatever made the model so."""
    runner = prepare(dynamic_int8, Step("onnx_runtime"), ServingProfile())
    assert batch_dependence(runner, rows, dynamic_int8, largest=8).dependent


def test_a_float_model_is_not(network: Model, rows: Rows) -> None:
    """Kernels for other shapes round otherwise; that is not dependence on neighbours."""
    runner = prepare(network, Step("onnx_runtime"), ServingProfile())
    found = batch_dependence(runner, rows, network, largest=8)
    assert not found.dependent
    assert found.largest < 1e-5


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_confident_scores_do_not_hide_dependence(network: Model, rows: Rows) -> None:
    """A change of the logits shows, even where the scores are 1 to five places."""
    centre = np.array([12.0, 0.0, -5.0, -8.0])

    def scores(x: Any) -> Any:
        return softmax(centre + 0.02 * x[:, :4] / np.abs(x).max())

    found = batch_dependence(Answers(scores), rows, network, largest=8)
    assert found.largest < 1e-6
    assert found.dependent


@pytest.mark.parametrize(
    ("function", "dependent"),
    [
        (lambda x: x / np.abs(x).max(), True),
        (lambda x: x - x.mean(axis=0), True),
        (lambda x: x * 2.0, False),
        (lambda x: x * (1.0 + 1e-4 * (len(x) > 1)), False),
    ],
)
def test_only_neighbours_count(
    function: Callable[[Any], Any], dependent: bool, network: Model, rows: Rows
) -> None:
    """A range or a mean over the batch is dependence; a rounding that goes with the size is not."""
    assert batch_dependence(Answers(function), rows, network, 8).dependent is dependent


def test_a_model_that_reads_its_padding_depends_on_its_batch(
    network: Model, tmp_path: Path
) -> None:
    """Longer neighbours bring more padding: without a mask, the mean over tokens moves."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(1.0, 0.1, size=(16, 10)).astype(np.float32))
    np.save(tmp_path / f"{LENGTHS}.npy", np.tile([3, 10], 8))
    ragged = Rows(str(tmp_path), ("x",), 16, {"x": 0.0})
    column = ragged.column("x").copy()
    column[::2, 3:] = 0.0
    np.save(tmp_path / "x.npy", column)
    unmasked = Answers(lambda x: x.mean(axis=1, keepdims=True))
    masked = Answers(lambda x: x.sum(axis=1, keepdims=True) / (x != 0).sum(axis=1, keepdims=True))
    assert batch_dependence(unmasked, ragged, network, 8).dependent
    assert not batch_dependence(masked, ragged, network, 8).dependent


def test_rows_that_never_meet_are_not_compared(dynamic_int8: Model, rows: Rows) -> None:
    """Where only single rows are served, there is no batch to depend on."""
    runner = prepare(dynamic_int8, Step("onnx_runtime"), ServingProfile())
    assert not batch_dependence(runner, rows, dynamic_int8, largest=1).dependent
