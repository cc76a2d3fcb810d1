"""The attack by loss: a model that learnt its rows by heart is caught, one that did not is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jettison.assessment.membership import (
    SMALLEST,
    calibrated,
    check_reference,
    compared,
    confidence_of,
    losses_of,
)
from jettison.domain.model import Model, TensorSpec
from jettison.errors import DataError, UsageError
from tests.unit.reporting.records import model


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def test_a_memorising_forest_is_caught_and_its_blunted_copy_less() -> None:
    """A forest that knows its rows by heart tells who was there; averaged answers tell less."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    inside, outside = order[:280], order[280:]
    flipped = np.where(np.random.default_rng(1).random(len(y)) < 0.3, 1 - y, y)
    forest = RandomForestClassifier(50, random_state=0).fit(x[inside], flipped[inside])

    def losses(rows: np.ndarray) -> np.ndarray:
        sharp = forest.predict_proba(x[rows])
        blunt = 0.5 * (np.round(sharp) * 0.2 + 0.4) + 0.5 * 0.5
        return losses_of([sharp, blunt], flipped[rows], "classification")

    found = compared(losses(inside), losses(outside))
    assert found.original.area.low > 0.75
    assert found.original.caught.low > 0.05
    assert found.difference.high < 0
    assert "less about membership" in found.verdict
    swapped = compared(losses(inside)[::-1], losses(outside)[::-1])
    assert "more about membership" in swapped.verdict


def test_a_model_that_saw_nobody_is_not_caught() -> None:
    """Losses of the same kind on both sides: the interval holds one half, and no difference shows."""
    rng = np.random.default_rng(3)
    found = compared(rng.exponential(size=(2, 400)), rng.exponential(size=(2, 400)))
    assert found.original.area.low < 0.5 < found.original.area.high
    assert found.original.caught.low < 0.02
    assert "No difference" in found.verdict


def test_losses_are_read_as_the_original_s_form_says() -> None:
    """Logits and probabilities give the same loss; a class without any is floored."""
    scores = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 0.0]], np.float32)
    targets = np.array([0, 2])
    told = losses_of([scores, scores], targets, "classification")
    np.testing.assert_allclose(told[0], -np.log(softmax(scores)[[0, 1], targets]), rtol=1e-5)
    sure = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert losses_of([sure], np.array([1, 1]), "classification").max() == -np.log(SMALLEST)
    values = losses_of([np.array([[1.0], [3.0]])], np.array([1.5, 3.0]), "regression")
    assert values.tolist() == [[0.25, 0.0]]


def test_values_that_are_no_numbers_are_refused() -> None:
    """A difference of NaN would read «no difference is shown»; two values a row have no one error."""
    values = np.zeros((40, 1))
    values[7] = np.nan
    with pytest.raises(DataError, match="nan in 1 rows"):
        losses_of([np.zeros(40), values], np.zeros(40), "regression")
    with pytest.raises(DataError, match="2 values a row"):
        losses_of([np.zeros((40, 2))], np.zeros(40), "regression")


def test_too_few_rows_are_refused() -> None:
    """Below 30 of a kind no attack says anything."""
    with pytest.raises(DataError, match="at least 30 members"):
        compared(np.ones((2, 29)), np.ones((2, 100)))


def trained(kind: str, rows: np.ndarray, x: np.ndarray, y: np.ndarray, seed: int):
    """A tree that learns its rows by heart, or a linear model that can't."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    made = {
        "by heart": DecisionTreeClassifier(min_samples_leaf=2, random_state=seed),
        "clean": LogisticRegression(C=0.01),
    }[kind]
    return made.fit(x[rows], y[rows])


@pytest.mark.parametrize("kind", ["by heart", "clean"])
def test_reference_models_catch_what_the_loss_alone_misses(kind: str) -> None:
    """Rows differ in how hard they are; against references a memorising model is caught far better.

    Half of the rows are easy and have labels without noise, half are coins: a small loss alone says
    little of membership. A model of few weights is caught by neither attack.
    """
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3600, 4))
    easy = rng.random(3600) < 0.5
    y = np.where(easy, x[:, 0] > 0, rng.random(3600) < 0.5).astype(int)
    x[easy, 1] += 4
    members, others, pool = np.split(np.arange(3600), [600, 1200])
    attacked = trained(kind, members, x, y, 0)
    references = [
        trained(kind, rng.choice(pool, 600, replace=False), x, y, seed) for seed in range(1, 17)
    ]

    def losses(models: list, rows: np.ndarray) -> np.ndarray:
        outputs = [np.clip(m.predict_proba(x[rows]), 0.02, 0.98) for m in models]
        return np.concatenate([losses_of([o], y[rows], "classification") for o in outputs])

    own = [losses([attacked, attacked], rows) for rows in (members, others)]
    scores = [
        calibrated(one, losses(references, rows), "classification")
        for one, rows in zip(own, (members, others))
    ]
    by_loss, against = compared(*own), compared(-scores[0], -scores[1])
    if kind == "clean":
        assert against.original.area.low < 0.5 < against.original.area.high
        assert against.original.caught.low < 0.02
    else:
        assert against.original.area.low > by_loss.original.area.value
        assert against.original.caught.low > by_loss.original.caught.high
    assert against.difference.value == 0


def test_log_odds_are_finite_and_fall_with_the_loss() -> None:
    """From a probability of nearly 1 to one of nearly 0; of values, minus the error."""
    losses = np.array([0.0, 1e-9, 0.1, np.log(2), 5.0, -np.log(SMALLEST)])
    odds = confidence_of(losses, "classification")
    assert np.isfinite(odds).all()
    assert (np.diff(odds) < 0).all()
    assert odds[3] == pytest.approx(0.0, abs=1e-12)
    assert confidence_of(np.array([4.0]), "regression").tolist() == [-2.0]


def test_a_reference_answers_the_same_question() -> None:
    """Classes in another order, or other inputs, would compare the wrong scores; unknown names pass."""
    original = model()

    def told(labels: tuple[str, ...], length: int = 2048) -> Model:
        return dataclasses.replace(
            original,
            inputs=(TensorSpec("bytes", "int32", ("batch", length)),),
            encoder=dataclasses.replace(original.encoder, labels=labels),
        )

    place = Path("shadow.onnx")
    check_reference(place, told(original.encoder.labels), original)
    check_reference(place, told(()), original)
    with pytest.raises(UsageError, match="scores the classes c, python, rust"):
        check_reference(place, told(("c", "python", "rust")), original)
    with pytest.raises(UsageError, match="has the inputs"):
        check_reference(place, told((), 1024), original)
