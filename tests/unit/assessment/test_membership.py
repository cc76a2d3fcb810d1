"""The attack by loss: a model that learnt its rows by heart is caught, one that did not is not."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.assessment.membership import SMALLEST, compared, losses_of
from jettison.errors import DataError


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


def test_too_few_rows_are_refused() -> None:
    """Below 30 of a kind no attack says anything."""
    with pytest.raises(DataError, match="at least 30 members"):
        compared(np.ones((2, 29)), np.ones((2, 100)))
