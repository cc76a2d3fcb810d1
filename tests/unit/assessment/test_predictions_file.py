"""Predictions alone: what is read, and what is refused with the way out."""

from __future__ import annotations

import numpy as np
import pytest

from jettison.assessment.predictions_file import PredictionColumns, read_predictions
from jettison.domain.configuration import DataSection
from jettison.domain.extension_points import Example
from jettison.errors import DataError


def table(**columns):
    made = {
        name: np.array(values, dtype=object if isinstance(values[0], str | None) else None)
        for name, values in columns.items()
    }
    return Example(made, len(next(iter(made.values()))))


def columns(target="y", groups=("sex",), weight="", **named):
    section = DataSection(target=target, groups=groups, weight=weight)
    return PredictionColumns(section, **({"score": "s"} | named))


def plain(n=60, **more):
    r = np.random.default_rng(0)
    found = {
        "s": r.random(n),
        "y": r.integers(0, 2, n),
        "sex": ["f", "m"] * (n // 2),
    }
    return table(**found | more)


def test_scores_become_decisions_at_one_half():
    """Without a column of decisions, a score of 0.5 and above is positive."""
    people, answers = read_predictions(plain(), columns(), "p.csv")
    assert people.task == "binary"
    assert people.classes == ("0", "1")
    np.testing.assert_array_equal(answers.decisions, answers.scores[:, 1] >= 0.5)
    assert [c.names for c in people.columns] == [("sex=f", "sex=m")]


def test_names_of_classes_and_of_the_positive_one():
    """Classes may be names; the positive one is the last in order, or the one named."""
    given = plain(y=["bad", "good"] * 30, d=["bad", "bad", "good"] * 20)
    people, answers = read_predictions(given, columns(decision="d", positive="bad"), "p.csv")
    assert people.classes[people.positive] == "bad"
    np.testing.assert_allclose(answers.scores[:, people.positive], given.columns["s"])


def test_one_class_is_not_taken_for_the_selection():
    """Where all rows are false, low scores are right; what a lone name means is not guessed."""
    low = np.full(60, 0.1)
    people, answers = read_predictions(plain(y=np.zeros(60, bool), s=low), columns(), "p.csv")
    assert people.classes == ("False", "True")
    np.testing.assert_array_equal(answers.decisions, people.targets)
    given = plain(y=["no"] * 60, s=low)
    with pytest.raises(DataError, match=r"of the class `no`.*--positive"):
        read_predictions(given, columns(), "p.csv")
    for positive, wrong in (("yes", 0), ("no", 60)):
        people, answers = read_predictions(given, columns(positive=positive), "p.csv")
        assert people.classes[people.positive] == positive
        assert (answers.decisions != people.targets).sum() == wrong


def test_several_classes_by_decisions():
    """Three classes are a multi-class assessment; one score can't go with them."""
    given = plain(y=["a", "b", "c"] * 20, d=["a", "b", "b"] * 20)
    people, _ = read_predictions(given, columns(decision="d", score=""), "p.csv")
    assert people.task == "multi-class"
    with pytest.raises(DataError, match="give `--decision` alone"):
        read_predictions(given, columns(decision="d"), "p.csv")


def test_labels_that_are_probabilities_are_refused():
    """A target of 0.37 is no class: the error says what it looks like and what to do."""
    soft = plain(y=np.linspace(0, 1, 60))
    with pytest.raises(DataError, match=r"look like probabilities.*decide each row"):
        read_predictions(soft, columns(), "p.csv")


def test_an_identifier_is_no_group():
    """A column with a value of its own in every row is refused, and told apart from groups."""
    given = plain(sex=[f"id{i}" for i in range(60)])
    with pytest.raises(DataError, match=r"60 different values in 60 rows.*identifier"):
        read_predictions(given, columns(), "p.csv")


def test_ten_thousand_groups_are_refused():
    """More than a thousand groups must be merged first."""
    n = 40_000
    given = table(s=np.zeros(n), y=np.arange(n) % 2, sex=[f"z{i % 10_000}" for i in range(n)])
    with pytest.raises(DataError, match="10,000 groups; at most 1,000"):
        read_predictions(given, columns(), "p.csv")


def test_missing_attributes_are_a_group_of_their_own():
    """Rows that don't say their group are neither dropped nor guessed."""
    people, _ = read_predictions(plain(sex=["f", None, "m"] * 20), columns(), "p.csv")
    assert people.columns[0].names == ("sex=(missing)", "sex=f", "sex=m")
    ages = np.array([20.0, np.nan, 30.0] * 20)
    people, _ = read_predictions(plain(sex=ages), columns(), "p.csv")
    assert people.columns[0].names == ("sex=(missing)", "sex=20", "sex=30")
    ages = np.array([0.0, np.inf, 30.0] * 20)
    people, _ = read_predictions(plain(sex=ages), columns(), "p.csv")
    assert people.columns[0].names == ("sex=0", "sex=30", "sex=inf")


def test_weights_of_zero():
    """Rows of weight 0 don't count; if all are 0, none would."""
    people, _ = read_predictions(plain(w=[0.0, 1.0] * 30), columns(weight="w"), "p.csv")
    assert people.n == 30
    with pytest.raises(DataError, match="all 0"):
        read_predictions(plain(w=[0.0] * 60), columns(weight="w"), "p.csv")
    with pytest.raises(DataError, match="row 1 holds -1"):
        read_predictions(plain(w=[1.0, -1.0] * 30), columns(weight="w"), "p.csv")


def test_scores_must_be_probabilities():
    """A logit is refused with its row."""
    with pytest.raises(DataError, match="row 0 holds 3"):
        read_predictions(plain(s=[3.0] * 60), columns(), "p.csv")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score": ""}, "name the column of `--score`"),
        ({"groups": ()}, "no column of groups was named"),
        ({"groups": ("sxe",)}, "did you mean `sex`"),
        ({"positive": "x"}, "positive class `x`"),
        ({"crossings": (("sex", "race"),)}, "crossing `sex x race`"),
    ],
)
def test_what_is_missing_is_named(given, message):
    """Each error says what is missing and what there is."""
    with pytest.raises(DataError, match=message):
        read_predictions(plain(), columns(**given), "p.csv")


def test_a_regression_has_values():
    """With --task regression, decisions and targets are numbers."""
    given = plain(y=np.linspace(1, 9, 60), d=np.linspace(2, 8, 60))
    people, answers = read_predictions(
        given, columns(decision="d", score="", regression=True), "p.csv"
    )
    assert people.task == "regression"
    assert answers.values[0] == 2.0
    with pytest.raises(DataError, match="nan in 60 rows"):
        read_predictions(
            plain(d=np.full(60, np.nan)),
            columns(decision="d", score="", regression=True),
            "p.csv",
        )


def test_an_intersection_is_a_group():
    """`sex & y` is made of two columns; a missing value stays a part of its own."""
    given = plain(sex=["f", None] * 30, y=[0, 1] * 30)
    people, _ = read_predictions(given, columns(groups=("sex & y",)), "p.csv")
    assert people.columns[0].names == ("sex & y=(missing) & 1", "sex & y=f & 0")


def test_true_is_one_beside_numbers():
    """Decisions of true and false answer targets of 0 and 1, and the other way round."""
    right = np.array([0, 1, 1] * 20)
    for more in ({"y": right, "d": right == 1}, {"y": right == 1, "d": right.astype(float)}):
        people, answers = read_predictions(plain(**more), columns(decision="d", score=""), "p.csv")
        assert people.classes == ("0", "1")
        np.testing.assert_array_equal(answers.decisions, people.targets)


def test_columns_that_share_no_class_are_refused():
    """Yes and no beside 0 and 1 would all be mistakes."""
    given = plain(d=["yes", "no"] * 30)
    with pytest.raises(DataError, match=r"`y` of p\.csv holds 0, 1 and column `d` holds no, yes"):
        read_predictions(given, columns(decision="d", score=""), "p.csv")
