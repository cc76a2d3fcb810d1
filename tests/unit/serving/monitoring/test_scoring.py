"""Single rows are scored as whole sets are, and labels are read as the data was."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Evidence
from jettison.domain.model import Model, TensorSpec
from jettison.metrics.classification import Accuracy
from jettison.pipeline.verify import open_bundle
from jettison.serving.monitoring.scoring import RowScorer, target_of


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    """A classifier of four classes with names."""
    return open_bundle(bundle)[0]


def one_score(model: Model) -> Model:
    """The same with one score a row: two classes."""
    outputs = (TensorSpec("scores", "float32", ("batch", 1)),)
    return dataclasses.replace(model, outputs=outputs, encoder=Encoder.of("arrays", {}))


def test_a_row_alone_is_read_like_the_rows_of_certification(model: Model) -> None:
    """A logit of 0.3 alone looks like a probability; beside stored answers it is a logit."""
    logits = np.array([[0.3], [-2.0], [4.0], [1.5]], np.float32)
    targets = np.array([1, 0, 1, 1])
    name = model.prediction
    whole = Accuracy().score(Evidence(targets, {name: logits}, {name: logits}, name))
    assert whole.contributions.tolist() == [1.0, 1.0, 1.0, 1.0]
    with_anchors = RowScorer("accuracy", one_score(model), logits[1:])
    without = RowScorer("accuracy", one_score(model), logits[:0])
    first = next(with_anchors.score_each(logits[:1], None, targets[:1]))
    alone = next(without.score_each(logits[:1], None, targets[:1]))
    assert first.candidate.tolist() == [1.0]
    assert alone.candidate.tolist() == [0.0]


def test_shares_run_from_worst_to_best(model: Model) -> None:
    """For a loss the share is turned round, so that a drop is always original - candidate."""
    scorer = RowScorer("nll", model, np.empty((0, 4), np.float32))
    good = np.array([[0.97, 0.01, 0.01, 0.01]], np.float32)
    bad = np.array([[0.01, 0.97, 0.01, 0.01]], np.float32)
    scored = next(scorer.score_each(bad, good, np.array([0])))
    lost = float(scored.drops[0]) * scorer.range
    assert lost == pytest.approx(np.log(97.0), rel=1e-4)
    assert scorer.value(scorer.share(1.25)) == pytest.approx(1.25)


def test_what_is_reported_only_is_not_watched(model: Model) -> None:
    """A metric without bounds has no margin that rows could break one by one."""
    assert not RowScorer("absolute_error", model, np.empty((0, 1))).watchable
    assert RowScorer("accuracy", model, np.empty((0, 4))).watchable


@pytest.mark.parametrize(
    ("label", "target"),
    [
        ("bee", 1),
        (1, 1),
        (1.0, 1),
        (True, 1),
        (4, None),
        (-1, None),
        (0.5, None),
        ("wolf", None),
        ("1", None),
        (None, None),
    ],
)
def test_labels_of_a_classifier(model: Model, label: object, target: int | None) -> None:
    """Names and indices are known; what the model can't say is no label."""
    assert target_of(label, model) == target  # type: ignore[arg-type]


def test_classes_that_are_numbers_are_names(model: Model) -> None:
    """Where classes are called 3, 5, 7, 9, a label 5 is the second class, as in the data."""
    numbered = dataclasses.replace(
        model, encoder=Encoder.of("arrays", {}, labels=("3", "5", "7", "9"))
    )
    assert [target_of(label, numbered) for label in (5, "5", 5.0, 1, "x")] == [1, 1, 1, None, None]


def test_a_regression_takes_numbers(model: Model) -> None:
    """Numbers are targets, texts are not; an embedding has no label at all."""
    regression = dataclasses.replace(model, task="regression")
    assert [target_of(label, regression) for label in (2, 2.5, "x")] == [2.0, 2.5, None]
    assert target_of(1, dataclasses.replace(model, task="embedding")) is None
