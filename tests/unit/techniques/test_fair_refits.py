"""Refits of scikit-learn models for fairness: on Adult, saved, opened and converted."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import registry
from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Array
from jettison.domain.splits import FittingData, Labels, Splits
from jettison.errors import CandidateFailed
from jettison.machine import describe_device
from jettison.pipeline.load import load_model
from jettison.pipeline.split import load_data
from jettison.worker.workbench import Bench, prepare

pd = pytest.importorskip("pandas")
WORDS = ["workclass", "marital-status", "occupation", "relationship"]
NUMBERS = ["age", "education-num", "hours-per-week"]


@pytest.fixture(scope="module")
def adult(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Splits]:
    """A logistic regression on columns of Adult without `sex`, with 2,500 fitting rows."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.read_csv(shared_data / "tabular" / "adult-train.csv.gz", nrows=6000)
    frame["income"] = frame["income"].str.strip()
    frame[NUMBERS] = frame[NUMBERS].astype("float64")
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
        (StandardScaler(), NUMBERS),
    )
    fitted = make_pipeline(encode, LogisticRegression(max_iter=300)).fit(
        frame[WORDS + NUMBERS][:2500], frame["income"][:2500]
    )
    folder = tmp_path_factory.mktemp("adult")
    model = load_model(ModelSection("live"), folder / "model", fitted)
    section = DataSection(
        inputs=(*WORDS, *NUMBERS), target="income", groups=("sex",), fitting_rows=2500
    )
    used = frame[[*WORDS, *NUMBERS, "income", "sex"]]
    parts = {
        use: {name: part[name].to_numpy() for name in part.columns}
        for use, part in (("fitting", used[:2500]), ("selection", used[2500:]))
    }
    return model, load_data(section, model, folder / "data", parts)


def made(adult: tuple[Model, Splits], folder: Path, *steps: Step) -> Model:
    """The model after some steps, made here and not in a worker: the fits are small."""
    model, splits = adult
    for place, step in enumerate(steps):
        mine = folder / f"{place}-{step.name}"
        mine.mkdir(parents=True)
        bench = Bench(mine, folder / "cache", describe_device(), ServingProfile((64,), (1.0,)))
        technique = registry.get("techniques", step.name)
        model = technique.apply(model, step.settings, splits.fitting, bench).model
    return model


def decisions(model: Model, splits: Splits) -> Array:
    """1 where a selection row is answered «>50K»."""
    assert splits.selection is not None
    runtime = Step(registry.home_runtime(model.traits).name)
    runner = prepare(model, runtime, ServingProfile())
    scores = runner.run(splits.selection.rows.batch(slice(None)))[model.prediction]
    taken: Array = scores.argmax(axis=1)
    return taken


def gap(taken: Array, splits: Splits) -> float:
    """Difference of selection rates between the sexes."""
    assert splits.selection is not None
    sex = splits.selection.labels.groups["sex"][: len(taken)]
    rates = [taken[sex == value].mean() for value in np.unique(sex)]
    return float(max(rates) - min(rates))


@pytest.mark.parametrize(
    "step",
    [
        Step("reweighing"),
        Step("constraint_learner", {"allowed": 0.02}),
        Step("constraint_learner", {"reduction": "grid_search", "allowed": 0.02}),
    ],
    ids=str,
)
def test_selection_rates_come_closer_and_conversion_keeps_them(
    adult: tuple[Model, Splits], tmp_path: Path, step: Step
) -> None:
    """The gap of the refitted model is smaller; the ONNX graph of it answers alike."""
    model, splits = adult
    before = gap(decisions(model, splits), splits)
    refitted = made(adult, tmp_path / "made", step)
    after = decisions(refitted, splits)
    assert gap(after, splits) < before - 0.02
    assert refitted.encoder.labels == model.encoder.labels
    converted = made(adult, tmp_path / "both", step, Step("convert_sklearn"))
    assert np.mean(decisions(converted, splits) == after) > 0.995


@pytest.mark.parametrize("rule", ["equal_selection_rates", "reject_option"])
def test_thresholds_by_group_need_leave_and_then_close_the_gap(
    adult: tuple[Model, Splits], tmp_path: Path, rule: str
) -> None:
    """Without leave it is refused; with it, selection rates meet, and the log says what is read."""
    _, splits = adult
    base = made(adult, tmp_path / "base", Step("convert_sklearn"))
    before = decisions(base, splits)
    for column, words in (("", "use_attribute_at_inference"), ("income", "does not read")):
        wish = Step("group_thresholds", {"rule": rule, "use_attribute_at_inference": column})
        with pytest.raises(CandidateFailed, match=words):
            made((base, splits), tmp_path / f"refused-{column}", wish)
    wish = Step(
        "group_thresholds",
        {"rule": rule, "use_attribute_at_inference": "relationship", "allowed": 0.25},
    )
    groups = {"relationship": relationship_of(splits)}
    known = splits.fitting.labels
    assert known is not None
    labels = Labels(None, groups)
    fitting = FittingData.of(splits.fitting.rows, 0, known.targets, labels)
    moved = made((base, dataclasses.replace(splits, fitting=fitting)), tmp_path / "moved", wish)
    after = decisions(moved, splits)
    assert splits.selection is not None
    column = np.asarray(splits.selection.rows.column("relationship")).ravel()
    rates = {v: (before[column == v].mean(), after[column == v].mean()) for v in set(column)}
    spread = [max(r[i] for r in rates.values()) - min(r[i] for r in rates.values()) for i in (0, 1)]
    assert spread[1] < 0.75 * spread[0]


def relationship_of(splits: Splits) -> Array:
    """A column that the model itself reads, as groups of the fitting rows."""
    column: Array = np.asarray(splits.fitting.rows.column("relationship")).ravel().astype(str)
    return column


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step("reweighing", {"columns": "age"}), "`age` is not a column of groups"),
        (Step("constraint_learner", {"constraint": "fair"}), "must be one of demographic_parity"),
        (Step("constraint_learner", {"reduction": "magic"}), "must be one of exponentiated"),
    ],
)
def test_wrong_settings_say_what_is_allowed(
    adult: tuple[Model, Splits], tmp_path: Path, step: Step, words: str
) -> None:
    """The candidate fails with one sentence."""
    with pytest.raises(CandidateFailed, match=words):
        made(adult, tmp_path, step)


def test_rows_without_groups_or_labels_are_refused(
    adult: tuple[Model, Splits], tmp_path: Path
) -> None:
    """Both are named, with what to do."""
    model, splits = adult
    bare: Any = dataclasses.replace(splits.fitting, group_digest="")
    with pytest.raises(CandidateFailed, match="no groups"):
        made((model, dataclasses.replace(splits, fitting=bare)), tmp_path / "0", Step("reweighing"))
    none: Any = dataclasses.replace(splits.fitting, target_digest="")
    with pytest.raises(CandidateFailed, match="learns from labels"):
        made((model, dataclasses.replace(splits, fitting=none)), tmp_path / "1", Step("reweighing"))
    few = dataclasses.replace(splits.fitting, rows=dataclasses.replace(splits.fitting.rows, n=20))
    with pytest.raises(CandidateFailed, match="too few"):
        made((model, dataclasses.replace(splits, fitting=few)), tmp_path / "2", Step("reweighing"))


def test_a_forest_grown_twice_is_the_same_forest() -> None:
    """What the model left to chance hangs on the seed of the run, also inside of another model."""
    from sklearn.ensemble import BaggingClassifier, RandomForestClassifier

    from jettison.graphs.sklearn_refit import Lesson

    random = np.random.default_rng(0)
    x, y = random.normal(size=(120, 4)), np.arange(120) % 2
    forest = RandomForestClassifier(n_estimators=5).fit(x, y)
    scores = [Lesson(forest, x, y, seed).fresh().fit(x, y).predict_proba(x) for seed in (3, 3, 4)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
    own = RandomForestClassifier(n_estimators=5, random_state=7).fit(x, y)
    assert Lesson(own, x, y, 3).fresh().random_state == 7
    bag = Lesson(BaggingClassifier(forest, n_estimators=2).fit(x, y), x, y, 3).fresh()
    assert bag.get_params()["estimator__random_state"] == bag.random_state == 3


def test_weights_that_do_not_count_are_named(adult: tuple[Model, Splits], tmp_path: Path) -> None:
    """The log of changes says that the constraint learner did not read them."""
    model, splits = adult
    labels = splits.fitting.labels
    assert labels is not None
    for name in ("plain", "weighted"):
        folder = tmp_path / name
        shutil.copytree(splits.fitting.rows.folder, folder)
        rows = dataclasses.replace(splits.fitting.rows, folder=str(folder))
        weights = np.ones(rows.n) if name == "weighted" else None
        known = Labels(None, labels.groups, weights=weights)
        fitting = FittingData.of(rows, 0, labels.targets, known)
        bench = Bench(folder, tmp_path / "cache", describe_device(), ServingProfile())
        technique = registry.get("techniques", "constraint_learner")
        made = technique.apply(model, {"reduction": "grid_search"}, fitting, bench)
        assert ("`data.weight` does not count" in made.changes[0].what) == (name == "weighted")
