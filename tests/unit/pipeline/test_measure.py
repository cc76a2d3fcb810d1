"""Outputs, their sanity, and quality on selection rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Rows
from jettison.domain.splits import Labels, SelectionSet
from jettison.pipeline.measure import (
    Sessions,
    reference_quality,
    sanity,
    score_rows,
    selection_quality,
)

ORT = Step("onnx_runtime")


@pytest.fixture
def workers(rows: Rows, serving: ServingProfile, tmp_path: Path) -> Iterator[Sessions]:
    """Workers that stay open for one test."""
    with Sessions(rows, serving, tmp_path / "workers") as workers:
        yield workers


@pytest.fixture
def outputs(network: Model, rows: Rows, workers: Sessions, tmp_path: Path) -> dict[str, np.ndarray]:
    """What the network answers."""
    return score_rows(Variant("baseline", network, ORT), rows, workers, tmp_path / "outputs")


def test_rows_one_by_one_and_together_are_scored_alike(
    network: Model,
    rows: Rows,
    workers: Sessions,
    tmp_path: Path,
    outputs: dict[str, np.ndarray],
) -> None:
    """The outputs are in row order, whatever the batch policy."""
    alone = Variant("x", network, ORT, one_by_one=True)
    singly = score_rows(alone, rows, workers, tmp_path / "alone")
    assert outputs["scores"].shape == (rows.n, 4)
    np.testing.assert_allclose(singly["scores"], outputs["scores"], atol=1e-5)


def test_batch_dependent_rows_one_by_one_do_not_depend_on_neighbours(
    dynamic_int8: Model, rows: Rows, workers: Sessions, tmp_path: Path
) -> None:
    """One by one, each answer is that of the row alone; in batches of 8 it is not."""
    together = score_rows(Variant("t", dynamic_int8, ORT), rows, workers, tmp_path / "t")
    alone = score_rows(
        Variant("a", dynamic_int8, ORT, one_by_one=True), rows, workers, tmp_path / "a"
    )
    with Sessions(rows, ServingProfile((1,), (1.0,)), tmp_path / "workers") as others:
        single = score_rows(Variant("s", dynamic_int8, ORT), rows, others, tmp_path / "s")
    np.testing.assert_array_equal(alone["scores"], single["scores"])
    assert np.abs(together["scores"] - alone["scores"]).max() > 1e-4


def test_the_same_outputs_are_sane(network: Model, outputs: dict[str, np.ndarray]) -> None:
    """A faithful candidate has nothing plainly wrong."""
    assert sanity(outputs, outputs, network) is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: np.where(np.arange(len(s))[:, None] == 3, np.nan, s), "NaN or infinite in 1 of"),
        (lambda s: s[:, :2], "has shape"),
        (lambda s: -s, "median cosine"),
        (lambda s: 0.9 + 0.1 * np.eye(4, dtype=s.dtype)[s.argmin(axis=1)], "label in 0%"),
    ],
)
def test_what_is_plainly_wrong_is_named_with_figures(
    damage: Callable[[np.ndarray], np.ndarray],
    reason: str,
    network: Model,
    outputs: dict[str, np.ndarray],
) -> None:
    """NaN, another shape, the opposite direction, and other labels are each named."""
    said = sanity(outputs, {"scores": damage(np.array(outputs["scores"]))}, network)
    assert said is not None
    assert reason in said


def selection_of(rows: Rows, outputs: dict[str, np.ndarray]) -> SelectionSet:
    """Labels that the network gets right on all rows but the first four; two groups."""
    targets = outputs["scores"].argmax(axis=1).astype(np.int64)
    targets[:4] = (targets[:4] + 1) % 4
    half = np.array(["low"] * 32 + ["high"] * 32)
    return SelectionSet(rows, Labels(targets, {"size": half}))


def test_quality_comes_overall_and_by_group_with_intervals(
    network: Model,
    rows: Rows,
    workers: Sessions,
    tmp_path: Path,
    outputs: dict[str, np.ndarray],
) -> None:
    """Accuracy of each group with its interval and rows, and each row's part on disk."""
    result = reference_quality(
        Variant("baseline", network, ORT),
        selection_of(rows, outputs),
        ("accuracy",),
        workers,
        tmp_path / "quality",
    )
    found = {estimate.group: estimate for estimate in result.estimates}
    assert found["overall"].value == pytest.approx(60 / 64)
    assert found["size=low"].value == pytest.approx(28 / 32)
    assert found["size=high"].value == pytest.approx(1.0)
    assert found["size=low"].n == 32
    assert found["size=low"].low is not None
    assert found["size=low"].low < 28 / 32
    parts = np.load(result.contributions["accuracy"])
    assert parts.shape == (64,)
    assert parts[:4].sum() == 0


def test_a_kept_quality_result_is_read_back(
    network: Model,
    rows: Rows,
    workers: Sessions,
    tmp_path: Path,
    outputs: dict[str, np.ndarray],
) -> None:
    """The same question is answered from disk; another question is not."""
    variant = Variant("x", network, ORT)
    selection = selection_of(rows, outputs)
    folder = tmp_path / "quality"
    arguments = (outputs, ("accuracy", "agreement"), workers, folder)
    first = selection_quality(variant, selection, *arguments)
    again = selection_quality(variant, selection, *arguments)
    assert again.estimates == first.estimates
    assert again.contributions == first.contributions
    assert len(list(folder.iterdir())) == 1
    np.testing.assert_array_equal(again.outputs["scores"], outputs["scores"])
    flipped = SelectionSet(rows, Labels((selection.labels.targets + 1) % 4))
    other = selection_quality(variant, flipped, *arguments)
    assert len(list(folder.iterdir())) == 2
    assert other.estimates[0].value == pytest.approx(4 / 64, abs=4 / 64)
