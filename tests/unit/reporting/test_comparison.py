"""The rows of the comparison table, and what they say."""

from __future__ import annotations

import dataclasses
import doctest

import pytest
import records

from jettison.domain.recipe import Recipe, Step
from jettison.domain.run import RunRecord
from jettison.reporting import comparison, markdown, quantities, tables
from jettison.reporting.comparison import Row, compare, every_trial
from jettison.reporting.findings import prediction


def rows_by_title(record: RunRecord) -> dict[str, Row]:
    return {row.title: row for row in compare(record)}


def test_what_ships_comes_first() -> None:
    """The first row is what ships, with its claim, its exact size and its certified quality."""
    row = compare(records.improved())[0]
    assert row.digest == records.STATIC.digest
    assert row.standing.words == "ships, certified"
    assert row.gain is not None
    assert row.gain.tier == "claim"
    assert row.gain.estimate.value == 1.54
    assert row.gain.estimate.n == 5
    assert row.size_ratio == pytest.approx(1_163_904 / 3_139_211)
    assert row.quality is not None
    assert (row.quality.rows, row.quality.n) == ("sealed", 4016)
    assert row.quality.value == 0.0024
    assert row.quality.worst == -0.0013


def test_every_fate_has_words() -> None:
    """Slower, lossy, stopped and failed candidates each say so, with the reason."""
    rows = rows_by_title(records.improved())
    assert rows["int8 dynamic"].standing.words == "slower than the original"
    lossy = rows["int8 static (calibrator minmax, no reduce range)"]
    assert lossy.standing.words == "loses too much quality"
    assert "−18.41 points" in lossy.standing.detail
    assert rows["half precision"].standing.words == "failed"
    assert "float16 kernel" in rows["half precision"].standing.detail
    assert rows["transformer fusion + int8 dynamic"].standing.words == "stopped early"


def test_what_a_step_warned_of_stands_beside_a_bad_verdict() -> None:
    """A stopped or lossy trial tells which layer goes wrong; one that ships does not."""
    record = records.improved()
    told = "the first layer that goes wrong is `/conv1`"
    warned = tuple(
        dataclasses.replace(
            trial,
            candidate=trial.candidate
            and dataclasses.replace(
                trial.candidate,
                log=tuple(dataclasses.replace(one, warning=told) for one in trial.candidate.log),
            ),
        )
        for trial in record.trials
    )
    rows = every_trial(dataclasses.replace(record, trials=warned))
    by_words = {row.standing.words: row.standing.detail for row in rows}
    ending = "The first layer that goes wrong is `/conv1`."
    assert by_words["loses too much quality"].endswith(ending)
    assert "−18.41 points" in by_words["loses too much quality"]
    assert "goes wrong" not in by_words["ships, certified"]
    assert "goes wrong" not in by_words["failed"]


def test_figures_without_a_claim_are_marked() -> None:
    """A gain from ranking, and quality on selection rows, never look like claims."""
    row = rows_by_title(records.improved())["int8 dynamic"]
    assert row.gain is not None
    assert row.gain.tier == "ranking"
    assert row.quality is not None
    assert row.quality.rows == "selection"
    assert row.quality.worst is None


def test_predictions_multiply_over_the_steps() -> None:
    """The most that a recipe could gain is the product of what its techniques could."""
    advised = records.improved().space
    both = dataclasses.replace(
        records.DYNAMIC, steps=(*records.DYNAMIC.steps, *records.STATIC.steps)
    )
    record = dataclasses.replace(records.improved(), space=advised)
    found, reasons = prediction(record, both)
    assert found is not None
    assert found.speedup == pytest.approx(1.03 * 2.9)
    assert found.size_ratio == pytest.approx(0.26 * 0.27)
    assert len(reasons) == 2


def test_unknown_prediction_is_missing() -> None:
    """A recipe that no advice covers has no prediction instead of a guess."""
    record = dataclasses.replace(
        records.improved(), space=dataclasses.replace(records.space(), advice=())
    )
    assert all(row.predicted is None for row in compare(record))


def test_broken_names_the_group_and_the_margin() -> None:
    """A broken candidate says how far what fell and what was allowed."""
    row = compare(records.nothing_better())[0]
    assert row.standing.words == "broken: loses too much"
    assert "accuracy of overall changed by −3.12 points" in row.standing.detail
    assert "1 point is allowed" in row.standing.detail


def test_without_data_quality_is_missing() -> None:
    """Without data no row has a quality, and what ships is said to be uncertified."""
    rows = compare(records.without_data())
    assert all(row.quality is None for row in rows)
    assert rows[0].standing.words == "ships, NOT certified"


def test_held_but_not_faster_is_said() -> None:
    """A candidate whose quality was held but whose cost shows no difference does not look good."""
    record = records.improved()
    claims = {
        digest: records.measured(digest, "claim", records.costs(1.01, 0.05, 5, 1_163_904))
        for digest in (records.STATIC.digest, records.STATIC_PERCENTILE.digest)
    }
    record = dataclasses.replace(record, shipped="", outcome="nothing_better", claims=claims)
    assert compare(record)[0].standing.words == "quality held, not shown to be faster"


def test_noisy_costs_support_nothing() -> None:
    """A noisy claim is never called faster or slower."""
    record = records.improved()
    trial = record.trials[0]
    noisy = tuple(
        dataclasses.replace(e, state="noisy") for e in records.costs(0.5, 0.01, 5, 1_102_330)
    )
    claims = {trial.recipe.digest: records.measured(trial.recipe.digest, "claim", list(noisy))}
    record = dataclasses.replace(record, claims=claims)
    row = next(row for row in compare(record) if row.digest == trial.recipe.digest)
    assert row.standing.words == "noisy"


def test_what_came_closest_keeps_its_quality() -> None:
    """A candidate that loses too much stands below those that keep quality, however fast it is."""
    titles = [row.title for row in compare(records.noisy())]
    assert titles.index("int8 static (calibrator minmax, reduce range)") == 0


def test_trials_of_one_kind_and_fate_share_a_row() -> None:
    """Rows count the trials that they stand for and show the best of them."""
    record = records.improved()
    again = dataclasses.replace(
        records.DYNAMIC,
        steps=(
            dataclasses.replace(
                records.DYNAMIC.steps[0], settings={"per_channel": False, "reduce_range": True}
            ),
        ),
    )
    extra = records.trial(6, again, 0.41, 0.8722, "12 of 14 operators to int8")
    record = dataclasses.replace(record, trials=(*record.trials, extra))
    row = next(row for row in compare(record) if row.tried == 2)
    assert row.title == "int8 dynamic (no per channel)"
    assert row.gain is not None
    assert row.gain.estimate.value == 0.41
    assert len(every_trial(record)) == 7


@pytest.mark.parametrize("module", [comparison, markdown, quantities, tables])
def test_examples_in_docstrings_hold(module: object) -> None:
    """The examples of the modules give what they show."""
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", records.EVERY_RECORD)
def test_every_outcome_has_rows_for_all_trials(name: str) -> None:
    """No trial is lost: the counts of the rows add up to the trials."""
    record = records.EVERY_RECORD[name]()
    assert sum(row.tried for row in compare(record)) == len(record.trials)


def test_what_a_closed_seal_left_untested_says_why() -> None:
    """Nothing before it failed: no sealed row was opened."""
    order = tuple(
        records.Member(r.digest, str(r), "not tested")
        for r in (records.STATIC, records.STATIC_PERCENTILE)
    )
    closed = dataclasses.replace(
        records.nothing_better().certificate,
        status="uncertified",
        reason="the rows are spent",
        order=order,
    )
    record = dataclasses.replace(records.nothing_better(), certificate=closed)
    details = {row.digest: row.standing.detail for row in compare(record)}
    assert {
        details[name] for name in (records.STATIC.digest, records.STATIC_PERCENTILE.digest)
    } == {"The rows are spent."}


def test_recipes_that_differ_in_their_runtime_have_titles_of_their_own() -> None:
    """Two rows of one name could not be told apart in the terminal, or in a sentence about one."""
    step = Step("int8_static")
    recipes = (
        Recipe((step,), Step("onnx_runtime")),
        Recipe((step,), Step("openvino", {"precision": "f32"})),
        Recipe((step,), Step("openvino", {"precision": "bf16"})),
        Recipe((Step("half_precision"),), Step("onnx_runtime")),
    )
    trials = tuple(records.trial(i, r, 1.2, 0.87, "x") for i, r in enumerate(recipes))
    rows = every_trial(dataclasses.replace(records.improved(), trials=trials))
    assert [row.title for row in rows] == [
        "int8 static on onnx runtime",
        "int8 static on openvino (precision f32)",
        "int8 static on openvino (precision bf16)",
        "half precision",
    ]
