"""The whole assessment: what leads, what is refused, what is only asked."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest

from jettison.assessment.answers import ModelAnswers
from jettison.assessment.assessing import Told, assess
from jettison.assessment.data_checks import questions_about
from jettison.assessment.figures import Wishes
from jettison.assessment.people import People, group_columns
from jettison.domain.assessment import Assessment
from jettison.domain.measurement import OVERALL
from jettison.domain.record import from_json, to_json
from jettison.errors import UsageError
from jettison.statistics.near_duplicates import alike

TOLD = Told("a model", "made-up rows")


def made(n=6000, bases=(0.5, 0.3), flip=(0.2, 0.2), seed=0, weights=None):
    """Two groups with their own base rates, and answers wrong with their own chances."""
    r = np.random.default_rng(seed)
    codes = r.integers(0, len(bases), n)
    targets = (r.random(n) < np.array(bases)[codes]).astype(np.int64)
    wrong = r.random(n) < np.array(flip)[codes]
    decisions = np.where(wrong, 1 - targets, targets)
    score = np.where(decisions == 1, 0.8, 0.2)
    names = np.array(["a", "b", "c", "d"])[codes]
    people = People(
        "binary", n, group_columns({"g": names}, (), "rows"), targets, ("no", "yes"), 1, weights
    )
    return people, ModelAnswers("original", decisions, np.stack([1 - score, score], axis=1))


def test_the_worst_group_leads_although_the_whole_looks_fine():
    """A group wrong in half of its rows leads the answer, with the accuracy beside it."""
    people, answers = made(bases=(0.5, 0.5, 0.5, 0.5), flip=(0.05, 0.05, 0.05, 0.5))
    record = assess(people, (answers,), Wishes(adverse=True), TOLD)
    assert "g=d" in record.answer
    assert "Over all rows" in record.answer
    worst = record.leading.findings[0]
    assert worst.group == "g=d"
    assert 0.35 < worst.at_least < worst.value - worst.rest
    assert from_json(Assessment, to_json(record)) == record


def test_chance_alone_is_seldom_a_finding():
    """In 40 draws of a model that treats four groups alike, at most 5 have any finding."""
    wrong = 0
    for seed in range(40):
        people, answers = made(400, (0.4,) * 4, (0.25,) * 4, seed=seed)
        wrong += bool(assess(people, (answers,), Wishes(), TOLD).leading.findings)
    assert wrong <= 5


def test_few_rows_are_undecided():
    """60 rows say «undecided», and how large a difference they leave possible."""
    people, answers = made(60)
    record = assess(people, (answers,), Wishes(), TOLD)
    assert record.answer.startswith("Undecided")
    assert record.leading.ratios[0].verdict == "undecided"


def test_three_limits_that_exclude_each_other_are_refused_with_the_numbers():
    """At base rates of 50 % and 30 %, equal PPV, TPR and FPR can't be asked for together."""
    people, answers = made()
    limits = {
        "predictive_parity_difference": 0.02,
        "equal_opportunity_difference": 0.02,
        "false_positive_rate_difference": 0.02,
    }
    with pytest.raises(UsageError, match=r"base rate is (49|50|51)\.\d % in g=a and .*at least"):
        assess(people, (answers,), Wishes(limits=limits), TOLD)
    two = {name: limits[name] for name in list(limits)[1:]}
    assert not assess(people, (answers,), Wishes(limits=two), TOLD).broken
    odds = {"predictive_parity_difference": 0.02, "equalised_odds_difference": 0.02}
    with pytest.raises(UsageError, match="can't be met together"):
        assess(people, (answers,), Wishes(limits=odds), TOLD)


def test_a_limit_is_held_broken_or_undecided():
    """Limits are judged by the interval, not by the value."""
    people, answers = made(flip=(0.1, 0.3))
    gaps = assess(people, (answers,), Wishes(), TOLD).leading.gaps
    measured = next(g.value for g in gaps if g.metric == "error_rate_difference")
    for limit, verdict in ((0.5, "held"), (0.05, "broken"), (measured, "undecided")):
        wishes = Wishes(limits={"error_rate_difference": limit})
        record = assess(people, (answers,), wishes, TOLD)
        found = next(g for g in record.leading.gaps if g.metric == "error_rate_difference")
        assert found.verdict == verdict
    with pytest.raises(UsageError, match="no gap `fairness`"):
        assess(people, (answers,), Wishes(limits={"fairness": 0.1}), TOLD)


def test_before_and_after_are_paired():
    """The change of a group is that of its own rows; a group left alone has none."""
    people, before = made()
    column = people.columns[0]
    decisions = np.where(column.codes == 1, 1 - before.decisions, before.decisions)
    after = ModelAnswers("shipped", decisions, before.scores)
    record = assess(people, (before, after), Wishes(), TOLD)
    changed = {(e.metric, e.group): e.value for e in record.changes}
    assert changed["error_rate_change", "g=a"] == 0.0
    assert changed["error_rate_change", "g=b"] > 0.4
    assert changed["answers_changed", "g=b"] == 1.0
    assert record.leading.name == "shipped"


def test_a_group_of_one_row_is_listed_and_compared_with_nobody():
    """One row makes no finding; the notes say so."""
    people, answers = made()
    codes = people.columns[0].codes.copy()
    names = np.where(np.arange(people.n) == 0, "lone", np.array(["a", "b"])[codes])
    columns = group_columns({"g": names}, (), "rows")
    alone = People("binary", people.n, columns, people.targets, ("no", "yes"))
    record = assess(alone, (answers,), Wishes(), TOLD)
    assert record.groups["g"]["g=lone"] == 1
    assert any("g=lone" in note for note in record.notes)
    assert all(finding.group != "g=lone" for finding in record.leading.findings)


def test_weights_of_zero_are_not_there():
    """Rows of weight 0 change no figure, and are told."""
    people, answers = made(2000)
    half = np.arange(2000) % 2 == 0
    weighted = People(
        "binary", 1000, people.columns, people.targets, people.classes, 1, half.astype(float)
    )
    after = ModelAnswers("shipped", np.where(half, answers.decisions, 1 - answers.decisions))
    changes = assess(weighted, (answers, after), Wishes(), TOLD).changes
    assert {(e.metric, e.group): (e.value, e.n) for e in changes}["answers_changed", OVERALL] == (
        0.0,
        1000,
    )
    record = assess(weighted, (answers,), Wishes(), TOLD)
    some = people.columns[0].codes[half] == 0
    wrong = (answers.decisions != people.targets)[half][some].mean()
    assert record.leading.get("error_rate", "g=a").value == pytest.approx(wrong)
    assert any("1,000 rows have weight 0" in note for note in record.notes)


def test_without_right_answers_only_selection_is_told():
    """No labels: selection rates and the ratio, no errors, and a note."""
    people, answers = made()
    bare = People("binary", people.n, people.columns, None, people.classes)
    record = assess(bare, (answers,), Wishes(), TOLD)
    assert {e.metric for e in record.leading.estimates} == {"selection_rate"}
    assert any("no right answers" in note for note in record.notes)
    with pytest.raises(UsageError, match="needs right answers"):
        assess(bare, (answers,), Wishes(limits={"error_rate_difference": 0.1}), TOLD)


def test_several_classes_each_against_the_rest():
    """With three classes, each has its rates, and the errors are over all."""
    r = np.random.default_rng(1)
    targets, names = r.integers(0, 3, 900), r.choice(["x", "y"], 900)
    scores = r.dirichlet([1, 1, 1], 900)
    columns = group_columns({"g": names}, (), "rows")
    people = People("multi-class", 900, columns, targets, ("a", "b", "c"))
    record = assess(people, (ModelAnswers("original", scores.argmax(1), scores),), Wishes(), TOLD)
    wrong = record.leading.get("error_rate")
    assert wrong.value == pytest.approx((scores.argmax(1) != targets).mean())
    assert record.leading.get("true_positive_rate[b]", "g=x") is not None
    brier = np.mean(((scores - np.eye(3)[targets]) ** 2).sum(axis=1))
    assert record.leading.get("brier_score").value == pytest.approx(brier)


def test_a_regression_has_errors_by_group():
    """Mean and absolute errors by group, with Student's intervals; the worse group leads."""
    r = np.random.default_rng(2)
    names, targets = np.repeat(["x", "y"], 300), r.normal(size=600)
    values = targets + np.where(names == "y", 0.8, 0.0) + r.normal(0, 0.1, 600)
    people = People("regression", 600, group_columns({"g": names}, (), "r"), targets)
    record = assess(people, (ModelAnswers("original", values=values),), Wishes(), TOLD)
    assert record.leading.get("mean_error", "g=y").value == pytest.approx(0.8, abs=0.03)
    assert "g=y" in record.answer


def test_crossings_are_groups_too():
    """A crossing holds the combinations that occur, each by name."""
    sex, race = np.array(["f", "m"] * 50), np.array(["p", "p", "q", "q"] * 25)
    columns = group_columns({"sex": sex, "race": race}, (("sex", "race"),), "rows")
    assert columns[2].name == "sex & race"
    assert columns[2].names[0] == "sex=f & race=p"
    assert np.bincount(columns[2].codes).tolist() == [25, 25, 25, 25]


def test_questions_point_at_each_kind_of_bias():
    """Shares, label rates, missing values, noisy labels and one score for all are asked about."""
    people, answers = made(8000, (0.5, 0.3), (0.05, 0.3), seed=5)
    codes, r = people.columns[0].codes, np.random.default_rng(0)
    income = np.where((codes == 1) & (r.random(8000) < 0.3), None, "some").astype(object)
    kind = np.where(codes == 0, people.targets, 0).astype(np.float64)
    population = {"g=a": 0.8, "g=b": 0.2}
    found = questions_about(people, {"income": income, "kind": kind}, population, answers)
    assert {q.kind for q in found} == {
        "historical",
        "representation",
        "measurement",
        "aggregation",
    }
    assert all(q.sentence.endswith("?") for q in found)
    with pytest.raises(UsageError, match="no group `g=z`"):
        questions_about(people, {}, {"g=z": 0.1})


def test_inputs_may_be_arrays_of_any_length_pictures_and_long_texts():
    """Questions about the data look at them without a copy that is as wide as the widest."""
    people, answers = made(400)
    sound, picture, text = (np.empty(400, dtype=object) for _ in range(3))
    for row in range(400):
        sound[row] = np.full(row % 3 + 1, row % 2, dtype=np.float32)
        picture[row] = b"\x89PNG" * (row + 1)
        text[row] = "a" * (100_000 if row == 7 else row % 5)
    tracemalloc.start()
    inputs = {"sound": sound, "picture": picture, "text": text}
    found = questions_about(people, inputs, {}, answers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not any("`sound` is missing" in question.sentence for question in found)
    assert peak < 50e6
    assert alike([sound]).tolist() == [row % 6 for row in range(400)]


def test_a_limit_is_not_held_for_a_group_with_too_few_rows_in_the_denominator():
    """A third group with 15 positives among 400 rows keeps the limit open and is named."""
    people, answers = made(6000, (0.5, 0.5), (0.1, 0.1))
    names = np.where(people.columns[0].codes == 0, "a", "b").astype(object)
    no, yes = (np.flatnonzero(people.targets == k) for k in (0, 1))
    names[no[:385]], names[yes[:15]] = "small", "small"
    columns = group_columns({"g": names.astype(str)}, (), "rows")
    people = dataclasses.replace(people, columns=columns)
    for name in ("equal_opportunity_difference", "equalised_odds_difference"):
        record = assess(people, (answers,), Wishes(limits={name: 0.3}), TOLD)
        gap = next(g for g in record.leading.gaps if g.metric == name)
        assert gap.high <= 0.3
        assert gap.verdict == "undecided"
        assert any("g=small" in note and name in note for note in record.notes)
    wide = assess(people, (answers,), Wishes(limits={"error_rate_difference": 0.3}), TOLD)
    assert next(g.verdict for g in wide.leading.gaps if g.limit is not None) == "held"


def test_a_limit_that_this_task_does_not_have_is_refused():
    """Limits on gaps that are never computed would seem to be held."""
    people, answers = made()
    with pytest.raises(
        UsageError, match=r"`mean_error_difference` .*binary.* error_rate_difference"
    ):
        assess(people, (answers,), Wishes(limits={"mean_error_difference": 0.1}), TOLD)
    with pytest.raises(UsageError, match=r"`error_rate_difference\[yes\]`"):
        assess(people, (answers,), Wishes(limits={"error_rate_difference[yes]": 0.1}), TOLD)


def test_a_finding_that_is_no_harm_and_a_broken_limit_are_not_nothing():
    """False alarms of one group alone: no miss, and yet the answer names them and the limit."""
    people, answers = made(6000, (0.5, 0.5), (0.0, 0.0))
    false = (people.columns[0].codes == 1) & (np.arange(6000) % 3 == 0)
    decided = np.where(false, 1, people.targets)
    answers = ModelAnswers("original", decided, None)
    wishes = Wishes(threshold=0.1, limits={"false_positive_rate_difference": 0.05})
    record = assess(people, (answers,), wishes, TOLD)
    assert not any(finding.harm for finding in record.leading.findings)
    assert record.leading.findings[0].sentence in record.answer
    assert "above the limit of 5" in record.answer
    assert "othing found" not in record.answer
