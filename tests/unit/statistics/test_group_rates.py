"""Rates by group: equal to fairlearn's, with intervals that hold what they say."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jettison.statistics.group_rates import (
    ERROR,
    FALSE_POSITIVE,
    PREDICTIVE,
    SELECTION,
    TRUE_POSITIVE,
    Answers,
    class_rates,
    error_rates,
    tally,
)
from jettison.statistics.group_values import difference_bounds, group_means, wilson_bounds
from jettison.statistics.intervals import mean_interval, newcombe_interval, wilson_interval


def random_answers(seed, n=2000, groups=5, classes=2, weighted=False):
    r = np.random.default_rng(seed)
    codes = r.integers(0, groups, n)
    targets = r.integers(0, classes, n)
    decisions = np.where(r.random(n) < 0.3 + 0.1 * codes, targets, r.integers(0, classes, n))
    weights = r.integers(0, 4, n).astype(float) if weighted else None
    return Answers(decisions, targets, classes, weights), codes


@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_fairlearn(weighted):
    """Every rate of every group is fairlearn's, with and without weights."""
    from fairlearn import metrics

    answers, codes = random_answers(3, weighted=weighted)
    counts = tally(answers, codes, 5)
    rates = class_rates(counts, 1)
    wanted = {
        SELECTION: metrics.selection_rate,
        TRUE_POSITIVE: metrics.true_positive_rate,
        FALSE_POSITIVE: metrics.false_positive_rate,
    }
    frame = metrics.MetricFrame(
        metrics=wanted,
        y_true=answers.targets,
        y_pred=answers.decisions,
        sensitive_features=codes,
        sample_params={name: {"sample_weight": answers.weights} for name in wanted},
    )
    for name in wanted:
        np.testing.assert_allclose(rates[name].value, frame.by_group[name], rtol=1e-12)
        np.testing.assert_allclose(rates[name].whole().value, frame.overall[name], rtol=1e-12)


def test_agrees_with_fairlearn_on_adult(shared_data):
    """On Adult, a rule of thumb by hours and education has fairlearn's rates by sex and race."""
    import pandas as pd
    from fairlearn import metrics

    with gzip.open(shared_data / "tabular" / "adult-test.csv.gz") as file:
        frame = pd.read_csv(file)
    targets = frame["income"].str.contains(">50K").to_numpy().astype(np.int64)
    chosen = ((frame["education-num"] > 12) & (frame["hours-per-week"] > 39)).to_numpy()
    names, codes = np.unique(frame["race"] + frame["sex"], return_inverse=True)
    rates = class_rates(tally(Answers(chosen.astype(np.int64), targets, 2), codes, len(names)), 1)
    theirs = metrics.MetricFrame(
        metrics=metrics.false_positive_rate,
        y_true=targets,
        y_pred=chosen,
        sensitive_features=names[codes],
    ).by_group
    np.testing.assert_allclose(rates[FALSE_POSITIVE].value, theirs[names], rtol=1e-12)


def test_counts_one_class_against_the_rest():
    """With three classes, a rate of one class treats the others alike; no class is never right."""
    targets = np.array([0, 1, 2, 2, 1, 0])
    decisions = np.array([0, 2, 2, -1, 1, 1])
    counts = tally(Answers(decisions, targets, 3), np.zeros(6, np.int64), 1)
    rates = class_rates(counts, 2)
    assert rates[TRUE_POSITIVE].value[0] == 0.5
    assert rates[FALSE_POSITIVE].value[0] == 0.25
    assert rates[PREDICTIVE].value[0] == 0.5
    assert error_rates(counts).value[0] == 0.5
    assert error_rates(counts).name == ERROR


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_weights_repeat_rows(seed):
    """A row of weight 2 counts as two rows; one of weight 0 is not there."""
    answers, codes = random_answers(seed, n=60, groups=3, weighted=True)
    times = answers.weights.astype(int)
    repeated = Answers(np.repeat(answers.decisions, times), np.repeat(answers.targets, times), 2)
    ours = class_rates(tally(answers, codes, 3), 1)
    plain = class_rates(tally(repeated, np.repeat(codes, times), 3), 1)
    for name, values in ours.items():
        np.testing.assert_allclose(values.value, plain[name].value)
        assert (values.rows.n <= plain[name].rows.n).all()


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_rest_is_everyone_else(seed):
    """`rest` of a group is the figure on the rows outside it."""
    answers, codes = random_answers(seed, n=80, groups=3)
    rates = class_rates(tally(answers, codes, 3), 1)
    for group in range(3):
        out = codes != group
        others = Answers(answers.decisions[out], answers.targets[out], 2)
        alone = class_rates(tally(others, np.zeros(out.sum(), np.int64), 1), 1)
        for name, values in rates.items():
            np.testing.assert_allclose(values.rest().value[group], alone[name].value[0])


def test_many_intervals_are_the_single_ones():
    """The intervals of all groups at once are those of `intervals.py`, one by one."""
    low, high = wilson_bounds(np.array([0.2, 1.0, np.nan]), np.array([50.0, 7.0, 0.0]))
    for i, (k, n) in enumerate([(10, 50), (7, 7), (0, 0)]):
        one = wilson_interval(k, n)
        assert (low[i], high[i]) == pytest.approx((one.low, one.high))
    x = np.random.default_rng(0).normal(3, 2, 40)
    means = group_means("x", np.repeat([0, 1], 20), 2, x, None)
    one = mean_interval(x[20:])
    assert means.value[1] == pytest.approx(one.value)
    assert [end[1] for end in means.bounds()] == pytest.approx([one.low, one.high])


def test_a_difference_is_newcombes_without_pairing():
    """For independent rates the interval is Newcombe's, which the paired one is at phi = 0."""
    low, high = wilson_bounds(np.array([0.6, 0.5]), np.array([100.0, 100.0]))
    ours = difference_bounds((0.6, low[0], high[0]), (0.5, low[1], high[1]))
    # 60 and 50 of 100 rows, overlapping as chance has it: 30 both, so phi is 0.
    paired = newcombe_interval(30, 20, 30, 100)
    assert ours == pytest.approx((paired.low, paired.high), abs=1e-9)


def test_lengths_must_agree():
    """Arrays of different lengths are refused."""
    with pytest.raises(ValueError, match="one value for each row"):
        tally(Answers(np.zeros(3, np.int64), np.zeros(2, np.int64), 2), np.zeros(3, np.int64), 1)
