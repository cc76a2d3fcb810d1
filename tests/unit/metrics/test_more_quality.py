"""F1, AUC, word error rate, perplexity, correlation and R2: values, forms, and refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jettison import registry
from jettison.domain.extension_points import Evidence
from jettison.errors import DataError
from jettison.testing.contracts import check_metric


def evidence(
    output: Any, targets: Any, *, reference: Any = None, labels: tuple[str, ...] = ()
) -> Evidence:
    output = np.asarray(output)
    original = output if reference is None else np.asarray(reference)
    return Evidence(np.asarray(targets), {"y": output}, {"y": original}, "y", labels)


def score(name: str, given: Evidence) -> Any:
    return registry.get("metrics", name).score(given)


@pytest.mark.parametrize("name", ["f1", "auc", "perplexity"])
def test_two_class_metrics_keep_the_contract(name: str) -> None:
    """Each metric passes the suite that every plug-in passes."""
    rng = np.random.default_rng(3)
    original = rng.normal(size=(300, 2)).astype(np.float32)
    noisy = original + 0.1 * rng.normal(size=original.shape).astype(np.float32)
    check_metric(name, evidence(noisy, rng.integers(0, 2, 300), reference=original))


@pytest.mark.parametrize("name", ["correlation", "r2"])
def test_regression_metrics_keep_the_contract(name: str) -> None:
    """Reported metrics pass the suite too."""
    rng = np.random.default_rng(3)
    original = rng.normal(size=(200, 1)).astype(np.float32)
    right = original[:, 0] + rng.normal(size=200)
    check_metric(name, evidence(original * 1.01, right, reference=original))


def test_word_error_rate_keeps_the_contract() -> None:
    """Texts pass the suite that every plug-in passes."""
    spoken = ["the cat sat", "on the mat", "and slept", "all day"] * 5
    heard = ["the cat sat", "on a mat", "slept", "all the day"] * 5
    check_metric("wer", evidence(heard, spoken, reference=spoken))


def test_f1_by_hand() -> None:
    """Two of three positives found, one false alarm: precision and recall 2/3."""
    made = score("f1", evidence([0.9, 0.8, 0.1, 0.7, 0.2], [1, 1, 1, 0, 0]))
    assert made.value == pytest.approx(2 / 3)
    assert made.strata.tolist() == [1, 1, 1, 0, 0]


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_auc_is_the_share_of_ordered_pairs(seed: int, coarse: bool) -> None:
    """The area agrees with all pairs one by one, ties counted half; its parts with DeLong's."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=60)
    scores = np.round(scores) if coarse else scores
    targets = (np.arange(60) < 25).astype(int)
    made = score("auc", evidence(scores, targets))
    up, down = scores[targets == 1], scores[targets == 0]
    wins = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    assert made.value == pytest.approx(wins.mean(), abs=1e-12)
    v10, v01 = wins.mean(axis=1), wins.mean(axis=0)
    delong = v10.var() / 25 + v01.var() / 35
    assert made.contributions.var() / 60 == pytest.approx(delong, rel=1e-9)


def test_influence_values_predict_a_change() -> None:
    """Leaving one row out moves the metric by about its influence over n."""
    rng = np.random.default_rng(5)
    targets = (rng.random(800) < 0.3).astype(int)
    scores = rng.normal(size=800) + targets
    for name in ("f1", "auc"):
        whole = score(name, evidence(scores, targets))
        for row in range(0, 800, 160):
            rest = np.arange(800) != row
            less = score(name, evidence(scores[rest], targets[rest]))
            influence = whole.contributions[row] - whole.value
            assert whole.value - less.value == pytest.approx(influence / 799, abs=2e-5)


def test_rows_that_are_not_finite_count_against_the_model() -> None:
    """NaN scores are the wrong class for F1, and behind all others for the area."""
    scores = np.array([0.9, np.nan, 0.1, np.nan])
    assert score("f1", evidence(scores, [1, 1, 0, 0])).value == pytest.approx(0.5)
    assert score("auc", evidence(scores, [1, 1, 0, 0])).value == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["f1", "auc"])
def test_two_class_metrics_refuse_what_is_undefined(name: str) -> None:
    """One class only, a third class, and no targets are errors that say so."""
    scores = np.array([0.1, 0.9, 0.5])
    with pytest.raises(DataError, match="no row is negative"):
        score(name, evidence(scores, [1, 1, 1]))
    with pytest.raises(DataError, match="two classes"):
        score(name, evidence(scores, [0, 1, 2]))
    with pytest.raises(DataError, match="needs the right answers"):
        score(name, Evidence(None, {"y": scores}, {"y": scores}, "y"))


def test_word_errors_by_hand() -> None:
    """A substitution, a deletion and an insertion; silence that is heard; a cap at twice."""
    spoken = ["the cat sat", "on the mat", "yes", "", "no"]
    heard = ["the dog sat", "on mat", "yes yes", "hm", "a b c d e f"]
    made = score("wer", evidence(heard, spoken))
    assert made.contributions.tolist() == [[1, 3], [1, 3], [1, 1], [1, 1], [2, 1]]
    assert made.value == pytest.approx(6 / 9)


def test_letters_over_time_are_read_greedily() -> None:
    """Repeats and blanks are left out, a repeat around a blank stays, and | ends a word."""
    labels = ("<pad>", "|", "a", "b")
    path = np.array([[2, 2, 0, 2, 1, 3], [0, 0, 3, 3, 0, 0]])
    scores = np.eye(4, dtype=np.float32)[path]
    made = score("wer", evidence(scores, ["aa b", "a"], labels=labels))
    assert made.contributions[:, 0].tolist() == [0, 1]


def test_isolated_words_are_read_as_classes() -> None:
    """Scores of words and class indices are compared by their names."""
    scores = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
    made = score("wer", evidence(scores, [0, 0], labels=("one", "two")))
    assert made.contributions[:, 0].tolist() == [0, 1]


def test_wer_says_what_it_can_not_read() -> None:
    """Letters without a blank, and numbers without names."""
    with pytest.raises(DataError, match="one blank among them"):
        score("wer", evidence(np.zeros((1, 3, 2), np.float32), ["a"], labels=("a", "b")))
    with pytest.raises(DataError, match="texts, or class indices"):
        score("wer", evidence(np.array([1.0, 2.0]), np.array([3.0, 4.0])))


def test_perplexity_is_a_bounded_mean_of_logs() -> None:
    """Uniform over 4 words has a perplexity of 4; a probability of 0 costs 13.8 nats."""
    made = score("perplexity", evidence(np.full((3, 4), 0.25, np.float32), [0, 1, 2]))
    assert math.exp(made.value) == pytest.approx(4.0)
    sure = np.array([[1.0, 0.0]], dtype=np.float32)
    assert score("perplexity", evidence(sure, [1])).value == pytest.approx(math.log(1e6))


def test_correlation_and_r2_by_hand() -> None:
    """They agree with SciPy and the definition."""
    rng = np.random.default_rng(8)
    right = rng.normal(size=50)
    values = right + 0.5 * rng.normal(size=50)
    assert score("correlation", evidence(values, right)).value == pytest.approx(
        stats.pearsonr(values, right).statistic
    )
    expected = 1 - np.square(values - right).sum() / np.square(right - right.mean()).sum()
    assert score("r2", evidence(values, right)).value == pytest.approx(expected)
    with pytest.raises(DataError, match="all equal"):
        score("correlation", evidence(np.ones(9), np.arange(9.0)))


def test_word_pieces_are_read_with_gaps() -> None:
    """The mark of SentencePiece begins a word; a label that ends with | ends one."""
    pieces = ("<blank>", "\u2581to", "\u2581day", "s")
    scores = np.eye(4, dtype=np.float32)[np.array([[1, 0, 2, 3]])]
    assert score("wer", evidence(scores, ["to days"], labels=pieces)).value == 0
    words = ("<blank>", "one|", "two|")
    scores = np.eye(3, dtype=np.float32)[np.array([[1, 1, 0, 2]])]
    assert score("wer", evidence(scores, ["one two"], labels=words)).value == 0


@pytest.mark.parametrize(("name", "average"), [("macro_f1", "macro"), ("weighted_f1", "weighted")])
def test_f1_of_several_classes_is_that_of_scikit_learn(name: str, average: str) -> None:
    """Values agree, classes that only the answers have included; the parts have the value as mean."""
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(5)
    scores = rng.normal(size=(400, 5)).astype(np.float32)
    targets = rng.choice(4, 400, p=[0.6, 0.3, 0.08, 0.02])
    scores[np.arange(400), targets] += 1.5
    given = evidence(scores, targets)
    check_metric(name, given)
    made = score(name, given)
    expected = f1_score(targets, scores.argmax(axis=1), average=average, zero_division=0)
    assert made.value == pytest.approx(expected)
    assert made.contributions.mean() == pytest.approx(expected)
    assert registry.get("metrics", name).kind == "reported_only"


def test_the_influence_of_a_row_is_what_macro_f1_loses_without_it() -> None:
    """Leaving a row out moves the value by about its influence over n."""
    rng = np.random.default_rng(6)
    scores, targets = rng.normal(size=(3000, 3)), rng.integers(0, 3, 3000)
    made = score("macro_f1", evidence(scores, targets))
    without = score("macro_f1", evidence(scores[1:], targets[1:]))
    influence = made.contributions[0] - made.value
    assert 3000 * (made.value - without.value) == pytest.approx(influence, rel=0.02, abs=1e-3)
