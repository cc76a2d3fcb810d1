"""Estimators on Adult: loaded, fed from the table, and run as scikit-learn runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Example, Source
from jettison.domain.model import Model
from jettison.encoders.tabular import TabularEncoder
from jettison.errors import ModelError
from jettison.formats.sklearn_skops import SklearnSkops
from jettison.loaders.scikit_learn import ScikitLearnLoader
from jettison.runtimes.scikit_learn import ScikitLearn

pytest.importorskip("sklearn")
pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def adult(shared_data: Path) -> Any:
    return pd.read_csv(shared_data / "tabular" / "adult-train.csv.gz", nrows=1500)


def parts(adult: Any) -> tuple[Any, Any, list[str], list[str]]:
    table = adult.drop(columns="income")
    numbers = list(table.select_dtypes("number").columns)
    return table, adult["income"], numbers, [c for c in table.columns if c not in numbers]


def pipeline(numbers: list[str], text: list[str], final: Any, unknown: str = "ignore") -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    steps = [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        ("text", OneHotEncoder(handle_unknown=unknown), text),
    ]
    return make_pipeline(ColumnTransformer(steps), final)


def load(live: Any, tmp_path: Path, task: str = "") -> Model:
    return ScikitLearnLoader().load(Source("", task, live=live), tmp_path / "copy")


def served(model: Model, table: Any) -> np.ndarray:
    """What the saved model answers to a table, through encoder and runtime."""
    kind = TabularEncoder()
    bound = kind.bind(model.encoder, model, tuple(table.columns))
    columns = {name: table[name].to_numpy() for name in table.columns}
    batch = kind.encode(bound, model, Example(columns, len(table))).arrays
    native = SklearnSkops().open(model.artifact)
    runner = ScikitLearn().prepare(model, native, {}, ServingProfile())
    return runner.run(batch)[model.prediction]


def test_pipeline_with_text(adult: Any, tmp_path: Path) -> None:
    """One input per column, categories kept, and the answers of the estimator to the last bit."""
    from sklearn.ensemble import RandomForestClassifier

    table, target, numbers, text = parts(adult)
    estimator = pipeline(numbers, text, RandomForestClassifier(5, random_state=0))
    estimator.fit(table, target)
    model = load(estimator, tmp_path)
    assert [s.dtype for s in model.inputs] == [
        "float64" if c in numbers else "str" for c in table.columns
    ]
    assert model.encoder.labels == ("<=50K", ">50K")
    assert model.traits == {"sklearn", "trees"}
    assert model.encoder.settings["missing"] == numbers
    assert "strict" not in model.encoder.settings
    np.testing.assert_array_equal(served(model, table), estimator.predict_proba(table))


def test_columns_that_are_not_used_are_not_asked_for(adult: Any, tmp_path: Path) -> None:
    """A ColumnTransformer that drops columns needs only the others."""
    from sklearn.linear_model import LogisticRegression

    table, target, numbers, text = parts(adult)
    estimator = pipeline(numbers[:2], text[:1], LogisticRegression()).fit(table, target)
    model = load(estimator, tmp_path)
    used = [c for c in table.columns if c in (*numbers[:2], *text[:1])]
    assert model.encoder.settings["columns"] == used
    np.testing.assert_array_equal(served(model, table[used]), estimator.predict_proba(table))


def test_strict_categories(adult: Any, tmp_path: Path) -> None:
    """An encoder that refuses unknown categories says so in the settings."""
    from sklearn.linear_model import LogisticRegression

    table, target, numbers, text = parts(adult)
    estimator = pipeline(numbers, text, LogisticRegression(), "error").fit(table, target)
    assert set(load(estimator, tmp_path).encoder.settings["strict"]) == set(text)  # type: ignore[arg-type]


def test_numbers_only(adult: Any, tmp_path: Path) -> None:
    """A model of numbers takes one 64-bit matrix in the order of its training."""
    from sklearn.ensemble import GradientBoostingRegressor

    table, _, numbers, _ = parts(adult)
    features = numbers[1:]
    estimator = GradientBoostingRegressor(n_estimators=5, random_state=0)
    estimator.fit(table[features], table["age"])
    model = load(estimator, tmp_path)
    assert [(s.name, s.dtype, s.shape) for s in model.inputs] == [("X", "float64", ("batch", 5))]
    assert (model.task, model.prediction) == ("regression", "prediction")
    answers = served(model, table[list(reversed(features))])
    np.testing.assert_array_equal(answers[:, 0], estimator.predict(table[features]))


def test_scores_of_a_classifier_without_probabilities(adult: Any, tmp_path: Path) -> None:
    """A decision function of two classes becomes two columns, so that the larger one wins."""
    from sklearn.linear_model import RidgeClassifier

    table, target, numbers, _ = parts(adult)
    estimator = RidgeClassifier().fit(table[numbers].to_numpy(), target)
    model = load(estimator, tmp_path)
    scores = served(model, table[numbers])
    assert model.prediction == "scores"
    labels = np.array(model.encoder.labels)[scores.argmax(axis=1)]
    np.testing.assert_array_equal(labels, estimator.predict(table[numbers].to_numpy()))


def test_the_same_estimator_gives_the_same_bytes(adult: Any, tmp_path: Path) -> None:
    """Saving a live estimator twice gives one digest."""
    from sklearn.ensemble import RandomForestClassifier

    table, target, numbers, _ = parts(adult)
    estimator = RandomForestClassifier(3, random_state=0).fit(table[numbers], target)
    one, two = load(estimator, tmp_path / "a"), load(estimator, tmp_path / "b")
    assert one.artifact.digest == two.artifact.digest


def test_skops_file(adult: Any, tmp_path: Path) -> None:
    """A .skops file is copied as it is."""
    import skops.io
    from sklearn.tree import DecisionTreeClassifier

    table, target, numbers, _ = parts(adult)
    estimator = DecisionTreeClassifier(max_depth=3).fit(table[numbers], target)
    path = tmp_path / "tree.skops"
    skops.io.dump(estimator, path)
    source = Source(str(path))
    assert ScikitLearnLoader().claims(source)
    model = ScikitLearnLoader().load(source, tmp_path / "copy")
    assert model.artifact.path.read_bytes() == path.read_bytes()


def unfitted() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


def clusterer() -> Any:
    from sklearn.cluster import KMeans

    return KMeans(2, n_init=1).fit(np.arange(8.0).reshape(4, 2))


def scaler() -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit(np.ones((3, 2)))


def several_questions() -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier().fit(np.arange(8.0).reshape(4, 2), [[0, 1], [1, 0]] * 2)


def text_vectorizer() -> Any:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(CountVectorizer(), LogisticRegression()).fit(["a bc", "d ef"], [0, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (unfitted, "is not fitted: call `fit`"),
        (clusterer, "neither a classifier nor a regressor"),
        (scaler, "is no scikit-learn estimator that predicts"),
        (several_questions, "answers several questions at once"),
        (text_vectorizer, "put the vectorizer into a ColumnTransformer"),
    ],
)
def test_estimators_that_are_not_supported(make: Any, message: str, tmp_path: Path) -> None:
    """Each is refused with what is supported instead."""
    with pytest.raises(ModelError, match=message):
        load(make(), tmp_path)


def test_a_stated_task_that_is_wrong(adult: Any, tmp_path: Path) -> None:
    """The estimator tells its task; another one is an error."""
    from sklearn.tree import DecisionTreeClassifier

    table, target, numbers, _ = parts(adult)
    estimator = DecisionTreeClassifier(max_depth=2).fit(table[numbers], target)
    with pytest.raises(ModelError, match=r"is for classification, but `model\.task` says"):
        load(estimator, tmp_path, "regression")


def test_threads_follow_the_serving_profile(adult: Any, tmp_path: Path) -> None:
    """`n_jobs` is set to the profile's threads where the user gave one, and not where not."""
    from sklearn.ensemble import RandomForestClassifier

    table, target, numbers, _ = parts(adult)
    for given, expected in ((-1, 2), (None, None)):
        estimator = RandomForestClassifier(3, n_jobs=given).fit(table[numbers], target)
        model = load(estimator, tmp_path)
        native = SklearnSkops().open(model.artifact)
        ScikitLearn().prepare(model, native, {}, ServingProfile(threads=2))
        assert native.n_jobs == expected
