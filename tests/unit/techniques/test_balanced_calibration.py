"""A step that chooses other fitting rows, and what follows it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.jobs import ApplyJob
from jettison.domain.model import Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData, Labels
from jettison.errors import CandidateFailed
from jettison.pipeline.apply import apply
from jettison.worker_client import run_apply

ORT = Step("onnx_runtime")
BALANCE = Step("balanced_calibration", {"shares": "equal"})
STATIC = Step("int8_static", {"calibrator": "minmax"})


def uneven(rows: Rows, folder: Path, *, targets: bool = True) -> FittingData:
    """Rows of which the first eighth are one group, with large inputs that only they have."""
    shutil.copytree(rows.folder, folder)
    for name in rows.names:
        values = np.load(folder / f"{name}.npy")
        values[: len(values) // 8] *= 3
        np.save(folder / f"{name}.npy", values)
    few = np.where(np.arange(rows.n) < rows.n // 8, "few", "many")
    mine = dataclasses.replace(rows, folder=str(folder), digest="uneven")
    answers = np.arange(rows.n) % 2 if targets else None
    return FittingData.of(mine, 5, answers, Labels(None, {"kind": few}))


def test_fitting_rows_carry_groups_and_weights(rows: Rows, tmp_path: Path) -> None:
    """They come back as they were given, cut to the rows, and change the digest."""
    fitting = uneven(rows, tmp_path / "mine")
    labels = dataclasses.replace(fitting, rows=dataclasses.replace(fitting.rows, n=9)).labels
    assert labels is not None
    assert labels.targets is not None
    assert len(labels.targets) == len(labels.groups["kind"]) == 9
    assert labels.weights is None
    weighted = FittingData.of(
        fitting.rows, 5, None, Labels(None, {}, weights=np.arange(rows.n) / 2)
    )
    assert weighted.labels is not None
    assert weighted.labels.targets is None
    assert weighted.labels.weights is not None
    assert weighted.labels.weights[3] == 1.5
    assert weighted.group_digest != fitting.group_digest


def test_the_next_step_fits_on_the_balanced_rows(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """Static int8 after balancing differs from static int8 alone, and says how rows were drawn."""
    fitting = uneven(rows, tmp_path / "mine")
    folder = tmp_path / "artifacts"
    percentile = Step("int8_static", {"calibrator": "percentile_95"})
    alone = apply(network, Recipe((percentile,), ORT), fitting, folder, serving)
    both = apply(network, Recipe((BALANCE, percentile), ORT), fitting, folder, serving)
    assert both.model.artifact.digest != alone.model.artifact.digest
    half = rows.n // 2
    assert f"few {rows.n // 8} to {half}" in both.log[0].what
    again = apply(network, Recipe((BALANCE, percentile), ORT), fitting, folder, serving)
    assert again.model == both.model
    assert again.editing_seconds == 0


@pytest.mark.parametrize(
    ("groups", "settings", "words"),
    [
        ({}, {}, "no groups"),
        ({"kind": "same"}, {}, "one group"),
        ({"kind": "two"}, {"shares": "reweighed"}, "needs fitting rows with classes"),
        ({"kind": "two"}, {"shares": "some"}, "must be one of equal, reweighed"),
        ({"kind": "two"}, {"columns": "age"}, "`age` is not a column"),
    ],
)
def test_what_can_not_be_balanced_fails_with_the_reason(
    network: Model,
    rows: Rows,
    serving: ServingProfile,
    tmp_path: Path,
    groups: dict[str, str],
    settings: dict[str, str],
    words: str,
) -> None:
    """The message says what is missing."""
    shutil.copytree(rows.folder, tmp_path / "mine")
    mine = dataclasses.replace(rows, folder=str(tmp_path / "mine"))
    two = np.where(np.arange(rows.n) % 2, "a", "b")
    given = {name: two if kind == "two" else np.full(rows.n, kind) for name, kind in groups.items()}
    fitting = FittingData.of(mine, 0, None, Labels(None, given))
    (tmp_path / "step").mkdir()
    step = Step("balanced_calibration", settings)
    with pytest.raises(CandidateFailed, match=words):
        run_apply(
            ApplyJob(
                network, step, fitting, str(tmp_path / "step"), str(tmp_path / "cache"), serving
            )
        )
