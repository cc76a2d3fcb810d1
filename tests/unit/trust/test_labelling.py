"""Which metrics can wait for labels, how many classes there are, and what is kept meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain.splits import Labels
from jettison.errors import CheckFailed, DataError, UsageError
from jettison.trust.labelling import class_count, labelling_obstacle, load_pending
from jettison.trust.labelling_known import load_known, save_known


@pytest.mark.parametrize(
    ("metric", "selection", "contexts", "looks", "told"),
    [
        ("accuracy", True, False, 1, ""),
        ("nll", True, False, 1, ""),
        ("accuracy", False, False, 1, "the data has none"),
        ("accuracy", True, True, 1, "contexts"),
        ("accuracy", True, False, 2, "looks = 1"),
        ("absolute_error", True, False, 1, "not a sum of parts"),
    ],
)
def test_what_can_wait_for_labels(
    metric: str, selection: bool, contexts: bool, looks: int, told: str
) -> None:
    """Anything else is refused before a search begins, with the way out."""
    obstacle = labelling_obstacle(
        registry.get("metrics", metric),
        labelled_selection=selection,
        contexts=contexts,
        looks=looks,
    )
    assert (told in obstacle) if told else (obstacle == "")


def test_a_report_can_not_wait_for_labels() -> None:
    """It would be dropped silently otherwise."""
    obstacle = labelling_obstacle(
        registry.get("metrics", "accuracy"),
        labelled_selection=True,
        contexts=False,
        looks=1,
        report=("agreement",),
    )
    assert "`agreement` in `report` can't be shown" in obstacle


def test_classes_are_counted() -> None:
    """By scores, by names, or by the answers themselves."""
    assert class_count(np.zeros((5, 7), dtype=np.float32), ()) == 7
    assert class_count(np.zeros((5, 1), dtype=np.float32), ()) == 2
    assert class_count(np.array(["a", "b"]), ("a", "b", "c")) == 3
    assert class_count(np.array([0, 4]), ()) == 5
    with pytest.raises(DataError, match="class names"):
        class_count(np.array(["a"]), ())


def test_groups_units_and_weights_are_kept_without_targets(tmp_path: Path) -> None:
    """What comes back judges as what was sealed; a damaged file is refused."""
    labels = Labels(
        np.array([1, 0]),
        {"site": np.array(["a", "b"], dtype=object)},
        np.array(["u", "v"]),
        np.array([1.0, 2.0]),
    )
    save_known(labels, tmp_path / "known.npz")
    again = load_known(tmp_path / "known.npz")
    assert again.targets is None
    assert again.groups["site"].tolist() == ["a", "b"]
    assert again.units is not None
    assert again.weights is not None
    assert (again.units.tolist(), again.weights.tolist()) == (["u", "v"], [1.0, 2.0])
    (tmp_path / "known.npz").write_bytes(b"not a zip")
    with pytest.raises(CheckFailed):
        load_known(tmp_path / "known.npz")


def test_nothing_waits(tmp_path: Path) -> None:
    """A run without waiting rows is told what `jettison label` is for."""
    with pytest.raises(UsageError, match="waits for labels"):
        load_pending(tmp_path / "work" / "certify")
