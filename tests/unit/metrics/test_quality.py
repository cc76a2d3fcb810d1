"""The quality metrics: values by hand, forms of outputs, and where each is undefined."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from jettison import registry
from jettison.domain.extension_points import Evidence
from jettison.errors import DataError
from jettison.testing.contracts import check_metric

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=np.float32)
TARGETS = np.array([0, 1, 1])


def evidence(
    output: Any, *, targets: Any = None, reference: Any = None, labels: tuple[str, ...] = ()
) -> Evidence:
    output = np.asarray(output)
    original = output if reference is None else np.asarray(reference)
    return Evidence(targets, {"y": output}, {"y": original}, "y", labels)


def score(name: str, given: Evidence) -> Any:
    return registry.get("metrics", name).score(given)


@pytest.mark.parametrize("name", ["accuracy", "nll", "agreement", "cosine"])
def test_metrics_keep_the_contract_on_scores(name: str) -> None:
    """Each metric passes the suite that every plug-in passes."""
    rng = np.random.default_rng(3)
    original = rng.normal(size=(200, 5)).astype(np.float32)
    given = evidence(
        original + 0.1 * rng.normal(size=original.shape).astype(np.float32),
        reference=original,
        targets=rng.integers(0, 5, 200),
    )
    check_metric(name, given)


@pytest.mark.parametrize("name", ["within_1_percent", "absolute_error"])
def test_metrics_keep_the_contract_on_values(name: str) -> None:
    """Each regression metric passes the suite that every plug-in passes."""
    rng = np.random.default_rng(3)
    original = rng.normal(size=(200, 1)).astype(np.float32)
    noisy = original * (1 + 0.01 * rng.normal(size=original.shape).astype(np.float32))
    check_metric(name, evidence(noisy, reference=original, targets=rng.normal(size=200)))


def test_accuracy_takes_the_largest_score() -> None:
    """Two of three rows are right."""
    made = score("accuracy", evidence(PROBABILITIES, targets=TARGETS))
    assert made.contributions.tolist() == [1, 1, 0]
    assert made.value == pytest.approx(2 / 3)


def test_accuracy_reads_labels_as_they_are() -> None:
    """Whole numbers are the answers; with numbered labels they are looked up; texts always."""
    whole = evidence(np.array([0, 1, 2]), targets=TARGETS)
    assert score("accuracy", whole).contributions.tolist() == [1, 1, 0]
    numbered = evidence(np.array([5, 7, 9]), targets=TARGETS, labels=("5", "7", "9"))
    assert score("accuracy", numbered).contributions.tolist() == [1, 1, 0]
    texts = evidence(np.array(["a", "b", "new"]), targets=TARGETS, labels=("a", "b"))
    assert score("accuracy", texts).contributions.tolist() == [1, 1, 0]


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_one_score_a_row_is_a_two_class_model(shape: tuple[int, ...]) -> None:
    """Scores from 0 to 1 are cut at 0.5, others at 0, as the original's are."""
    targets = np.array([0, 1, 0, 1])
    chances = np.array([0.1, 0.9, 0.4, 0.6]).reshape(shape)
    assert score("accuracy", evidence(chances, targets=targets)).value == 1
    logits = np.array([-2.0, 3.0, -0.1, 0.2]).reshape(shape)
    assert score("accuracy", evidence(logits, targets=targets)).value == 1
    moved = evidence(np.clip(logits, 0, 1), reference=logits, targets=targets)
    assert score("accuracy", moved).value == 1


def test_rows_without_finite_scores_are_wrong() -> None:
    """NaN is never a good number: not right, not agreeing, and the worst likelihood."""
    broken = PROBABILITIES.copy()
    broken[0] = np.nan
    broken[1, 0] = np.inf
    given = evidence(broken, reference=PROBABILITIES, targets=TARGETS)
    assert score("accuracy", given).contributions.tolist() == [0, 0, 0]
    assert score("agreement", given).contributions.tolist() == [0, 0, 1]
    losses = score("nll", given).contributions
    np.testing.assert_allclose(losses[:2], registry.get("metrics", "nll").high)
    assert losses[2] == pytest.approx(-math.log(0.3))


def test_nll_reads_probabilities_and_logits_alike() -> None:
    """The same model gives the same loss, whether it ends in a softmax or before it."""
    chances = score("nll", evidence(PROBABILITIES, targets=TARGETS))
    logits = score("nll", evidence(np.log(PROBABILITIES) + 3, targets=TARGETS))
    assert chances.value == pytest.approx(-np.log([0.7, 0.8, 0.3]).mean(), abs=1e-6)
    np.testing.assert_allclose(chances.contributions, logits.contributions, atol=1e-6)


def test_nll_of_one_score_a_row_is_that_of_two_classes() -> None:
    """A sigmoid and its logit give the same loss as two columns."""
    targets = np.array([0, 1])
    two = score("nll", evidence(np.array([[0.9, 0.1], [0.4, 0.6]]), targets=targets))
    one = score("nll", evidence(np.array([[0.1], [0.6]]), targets=targets))
    logit = score("nll", evidence(np.array([math.log(1 / 9), 2.0]), targets=targets))
    np.testing.assert_allclose(two.contributions, one.contributions)
    assert logit.contributions[0] == pytest.approx(two.contributions[0])


def test_nll_of_one_row_is_bounded() -> None:
    """A certain and wrong answer loses the declared bound and no more."""
    made = score("nll", evidence(np.array([[1.0, 0.0], [0.0, 1.0]]), targets=np.array([1, 1])))
    assert made.contributions.tolist() == [pytest.approx(math.log(1e4)), 0]


def test_agreement_looks_at_the_original_only() -> None:
    """Labels play no part; a row that moves to another class counts as 0."""
    moved = PROBABILITIES[:, [0, 2, 1]]
    made = score("agreement", evidence(moved, reference=PROBABILITIES))
    assert made.contributions.tolist() == [1, 0, 0]


def test_cosine_measures_direction_only() -> None:
    """Length does not matter, a turn does, and huge or tiny vectors don't overflow."""
    original = np.array([[3.0, 4.0], [1.0, 0.0], [1e30, 1e30], [1e-30, 0.0]], dtype=np.float32)
    turned = np.array([[6.0, 8.0], [0.0, 1.0], [-1e30, -1e30], [1e30, 0.0]], dtype=np.float32)
    made = score("cosine", evidence(turned, reference=original))
    np.testing.assert_allclose(made.contributions, [1, 0, -1, 1], atol=1e-12)


def test_a_vector_without_direction_counts_as_worst() -> None:
    """Zero and NaN vectors of a candidate score -1."""
    original = np.ones((2, 3))
    lost = np.array([[0.0, 0, 0], [np.nan, 1, 1]])
    assert score("cosine", evidence(lost, reference=original)).contributions.tolist() == [-1, -1]


def test_closeness_is_relative_to_the_original() -> None:
    """1 % of the original's own value; a zero must stay zero; NaN is far."""
    original = np.array([100.0, 100.0, 0.0, 0.0, 1.0])
    values = np.array([100.9, 101.1, 0.0, 1e-9, np.nan])
    made = score("within_1_percent", evidence(values, reference=original))
    assert made.contributions.tolist() == [1, 0, 1, 0, 0]


def test_absolute_error_is_infinite_where_the_answer_is_not_a_number() -> None:
    """A missing number is never a good number."""
    made = score("absolute_error", evidence(np.array([[1.0], [np.nan]]), targets=np.zeros(2)))
    assert made.contributions.tolist() == [1, math.inf]


UNDEFINED: list[tuple[str, Evidence, str]] = [
    ("accuracy", evidence(PROBABILITIES), "name their column as `target`"),
    ("nll", evidence(PROBABILITIES), "name their column as `target`"),
    ("absolute_error", evidence(np.ones(3)), "name their column as `target`"),
    ("accuracy", evidence(PROBABILITIES, targets=np.array([0.5, 1, 1])), "class indices"),
    ("accuracy", evidence(PROBABILITIES, targets=np.array([-1, 1, 1])), "class indices"),
    ("accuracy", evidence(np.ones((3, 2, 2)), targets=TARGETS), "one score per class"),
    ("accuracy", evidence(np.ones((3, 2), int), targets=TARGETS), "one label per row"),
    ("accuracy", evidence(np.array(["a", "b", "c"]), targets=TARGETS), "class names are not known"),
    ("accuracy", evidence(np.ones((0, 2)), targets=np.ones(0, int)), "there are no rows"),
    ("nll", evidence(np.array([0, 1, 2]), targets=TARGETS), "class labels and no probabilities"),
    ("nll", evidence(PROBABILITIES[:, :2], targets=np.array([0, 1, 2])), "scores for 2 classes"),
    ("agreement", evidence(np.ones((0, 2))), "there are no rows"),
    ("agreement", evidence(PROBABILITIES, reference=PROBABILITIES * np.nan), "own answer to row 0"),
    ("agreement", evidence(PROBABILITIES, reference=PROBABILITIES[:, :2]), "outputs of one shape"),
    ("cosine", evidence(PROBABILITIES, reference=np.zeros((3, 3))), "own answer to row 0"),
    ("cosine", evidence(np.ones((3, 2), int)), "vectors of floats"),
    ("within_1_percent", evidence(np.ones(2), reference=np.array([1, np.inf])), "answer to row 1"),
    ("within_1_percent", evidence(np.array(["a"])), "needs numbers"),
    ("absolute_error", evidence(np.ones((2, 2)), targets=np.ones(2)), "one number a row"),
]


@pytest.mark.parametrize(("name", "given", "words"), UNDEFINED)
def test_an_undefined_metric_says_why(name: str, given: Evidence, words: str) -> None:
    """A metric that has no meaning on this data is an error that names the way out."""
    with pytest.raises(DataError, match=words):
        score(name, given)
