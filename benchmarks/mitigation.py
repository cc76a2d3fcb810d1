"""Fairness against accuracy on Adult and COMPAS: jettison's mitigation beside fairlearn's own.

Each seed draws training and held-out rows anew. A technique sees the training rows only; every
figure is of the held-out rows. The model is a logistic regression; nothing is compressed here, and
nothing is certified: this is the front from which a user chooses before a run.

    python -m benchmarks.mitigation
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.metrics import (
    demographic_parity_difference,
    false_positive_rate_difference,
    true_positive_rate_difference,
)
from fairlearn.postprocessing import ThresholdOptimizer
from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.results_file import Row, write
from jettison import registry
from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Array
from jettison.domain.splits import Splits
from jettison.errors import CandidateFailed
from jettison.machine import describe_device
from jettison.pipeline.load import load_model
from jettison.pipeline.split import load_data
from jettison.statistics.intervals import mean_interval
from jettison.worker.workbench import Bench, prepare

DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data")) / "tabular"
SEEDS = tuple(range(5))
TRAINING, HELD_OUT = 3000, 3000
ALLOWED = 0.02

Answer = Callable[[pd.DataFrame], Array]


@dataclass(frozen=True)
class Task:
    """One data set."""

    name: str
    frame: pd.DataFrame
    words: list[str]
    numbers: list[str]
    target: str
    positive: str
    group: str

    @property
    def inputs(self) -> list[str]:
        return self.words + self.numbers


def adult() -> Task:
    frame = pd.concat(
        pd.read_csv(DATA / name) for name in ("adult-train.csv.gz", "adult-test.csv.gz")
    )
    frame["income"] = frame["income"].str.strip().str.rstrip(".")
    numbers = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
    words = ["workclass", "marital-status", "occupation", "relationship", "sex", "race"]
    frame[numbers] = frame[numbers].astype("float64")
    return Task("Adult, sex", frame, words, numbers, "income", ">50K", "sex")


def compas() -> Task:
    frame = pd.read_csv(DATA / "compas-scores-two-years.csv.gz")
    kept = frame["days_b_screening_arrest"].between(-30, 30) & (frame["is_recid"] != -1)
    kept &= (frame["c_charge_degree"] != "O") & (frame["score_text"] != "N/A")
    frame = frame[kept & frame["race"].isin(["African-American", "Caucasian"])].copy()
    # The outcome that a model is punished for: 1 is a new arrest, so «positive» is the harm.
    frame["again"] = np.where(frame["two_year_recid"] == 1, "yes", "no")
    numbers = ["age", "priors_count", "juv_fel_count", "juv_misd_count"]
    frame[numbers] = frame[numbers].astype("float64")
    words = ["sex", "race", "c_charge_degree"]
    return Task("COMPAS, race", frame, words, numbers, "again", "yes", "race")


def fitted(task: Task, train: pd.DataFrame) -> Any:
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), task.words),
        (StandardScaler(), task.numbers),
    )
    return make_pipeline(encode, LogisticRegression(max_iter=500)).fit(
        train[task.inputs], train[task.target]
    )


def steps(task: Task) -> dict[str, tuple[Step, ...]]:
    """Recipes of jettison, by what they are called in the table."""
    convert = Step("convert_sklearn")
    learner = "constraint_learner"
    wish = {"columns": task.group, "allowed": ALLOWED}
    reads = {"use_attribute_at_inference": task.group, "allowed": ALLOWED}
    return {
        "reweighing": (Step("reweighing", {"columns": task.group}), convert),
        "constraint learner, demographic parity, vote": (Step(learner, wish), convert),
        "constraint learner, demographic parity, grid": (
            Step(learner, {**wish, "reduction": "grid_search"}),
            convert,
        ),
        "constraint learner, equalized odds, vote": (
            Step(learner, {**wish, "constraint": "equalized_odds"}),
            convert,
        ),
        **{
            f"group thresholds, {rule} (reads the group)": (
                convert,
                Step("group_thresholds", {**reads, "rule": rule}),
            )
            for rule in ("equal_selection_rates", "equal_true_positive_rates", "reject_option")
        },
    }


def ours(
    task: Task, estimator: Any, train: pd.DataFrame, test: pd.DataFrame, folder: Path
) -> Iterator[tuple[str, Array | str]]:
    """Each recipe's decisions on the held-out rows, or why it failed."""
    model = load_model(ModelSection("live"), folder / "model", estimator)
    section = DataSection(
        inputs=tuple(task.inputs), target=task.target, groups=(task.group,), fitting_rows=len(train)
    )
    parts = {
        use: {name: part[name].to_numpy() for name in [*task.inputs, task.target]}
        for use, part in (("fitting", train), ("selection", test))
    }
    splits = load_data(section, model, folder / "data", parts)
    for title, recipe in steps(task).items():
        try:
            made = applied(model, splits, recipe, folder / title.replace(" ", "-"))
        except CandidateFailed as failure:
            yield title, str(failure)
            continue
        yield title, decisions(made, splits, task, test)


def applied(model: Model, splits: Splits, recipe: tuple[Step, ...], folder: Path) -> Model:
    for place, step in enumerate(recipe):
        mine = folder / str(place)
        mine.mkdir(parents=True)
        bench = Bench(mine, folder / "cache", describe_device(), ServingProfile())
        technique = registry.get("techniques", step.name)
        model = technique.apply(model, step.settings, splits.fitting, bench).model
    return model


def decisions(model: Model, splits: Splits, task: Task, test: pd.DataFrame) -> Array:
    """The class of each held-out row, in the order of the table."""
    columns = {name: test[name].to_numpy() for name in task.inputs}
    encoder = splits.encoder or model.encoder
    encoded = registry.get("encoders", encoder.kind).encode(
        encoder, model, Example(columns, len(test))
    )
    runtime = Step(registry.home_runtime(model.traits).name)
    scores = prepare(model, runtime, ServingProfile()).run(encoded.arrays)[model.prediction]
    taken: Array = scores.argmax(axis=1)
    return taken


def theirs(
    task: Task, estimator: Any, train: pd.DataFrame, test: pd.DataFrame, seed: int
) -> Iterator[tuple[str, Array]]:
    """The ways of fairlearn itself, as its documentation calls them."""
    binary = (train[task.target] == task.positive).astype(int)
    encode, last = estimator[:-1], LogisticRegression(max_iter=500)
    features, held = encode.transform(train[task.inputs]), encode.transform(test[task.inputs])
    for name, moment in (
        ("demographic parity", DemographicParity(difference_bound=ALLOWED)),
        ("equalized odds", EqualizedOdds(difference_bound=ALLOWED)),
    ):
        learner = ExponentiatedGradient(last, moment, eps=ALLOWED)
        learner.fit(features, binary, sensitive_features=train[task.group])
        yield (
            f"fairlearn ExponentiatedGradient, {name} (random answers)",
            np.asarray(learner.predict(held, random_state=seed)),
        )
    for constraint in ("demographic_parity", "true_positive_rate_parity", "equalized_odds"):
        optimizer = ThresholdOptimizer(
            estimator=LogisticRegression(max_iter=500),
            constraints=constraint,
            predict_method="predict_proba",
        )
        optimizer.fit(features, binary, sensitive_features=train[task.group])
        found = optimizer.predict(held, sensitive_features=test[task.group], random_state=seed)
        yield f"fairlearn ThresholdOptimizer, {constraint} (reads the group)", np.asarray(found)


METRICS = ("accuracy", "selection rate gap", "true positive rate gap", "false positive rate gap")


def figures(taken: Array, truth: Array, group: Array) -> dict[str, float]:
    values = (
        float((taken == truth).mean()),
        demographic_parity_difference(truth, taken, sensitive_features=group),
        true_positive_rate_difference(truth, taken, sensitive_features=group),
        false_positive_rate_difference(truth, taken, sensitive_features=group),
    )
    return dict(zip(METRICS, values, strict=True))


def one_seed(task: Task, seed: int) -> Iterator[tuple[str, dict[str, float] | str]]:
    shuffled = task.frame.sample(frac=1.0, random_state=seed)
    train, test = shuffled[:TRAINING], shuffled[TRAINING:][:HELD_OUT]
    estimator = fitted(task, train)
    truth = (test[task.target] == task.positive).to_numpy().astype(int)
    group = test[task.group].to_numpy()
    plain = (estimator.predict(test[task.inputs]) == task.positive).astype(int)
    yield "original", figures(plain, truth, group)
    with tempfile.TemporaryDirectory() as place:
        for title, found in ours(task, estimator, train, test, Path(place)):
            yield title, found if isinstance(found, str) else figures(found, truth, group)
    for title, taken in theirs(task, estimator, train, test, seed):
        yield title, figures(taken, truth, group)


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    for task in (adult(), compas()):
        found: dict[str, list[dict[str, float]]] = {}
        failed: dict[str, list[str]] = {}
        for seed in SEEDS:
            for title, values in one_seed(task, seed):
                if isinstance(values, str):
                    failed.setdefault(title, []).append(values)
                else:
                    found.setdefault(title, []).append(values)
            print(task.name, seed, flush=True)
        for title in dict.fromkeys([*found, *failed]):
            many = found.get(title, [])
            reasons = failed.get(title, [])
            note = f"failed in {len(reasons)} of {len(SEEDS)}: {reasons[0]}" if reasons else ""
            for metric in METRICS:
                if len(many) < 2:
                    rows.append(
                        Row(task.name, title, metric, None, None, None, "fraction", len(many), note)
                    )
                    continue
                band = mean_interval(np.array([one[metric] for one in many]))
                rows.append(
                    Row(
                        task.name,
                        title,
                        metric,
                        round(band.value, 4),
                        round(band.low, 4),
                        round(band.high, 4),
                        "fraction",
                        len(many),
                        note,
                    )
                )
    notes = [
        f"Logistic regression; {TRAINING:,} training and up to {HELD_OUT:,} held-out rows a seed, "
        f"{len(SEEDS)} seeds; n counts seeds; 95 % t intervals over seeds, whose rows overlap.",
        f"Difference allowed: {ALLOWED:g}. Gaps are largest minus smallest rate over the groups.",
        "COMPAS: groups African-American and Caucasian; the positive class is a new arrest.",
    ]
    write("mitigation", rows, notes)


if __name__ == "__main__":
    sys.exit(main())
