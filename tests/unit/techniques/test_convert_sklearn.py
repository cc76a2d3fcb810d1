"""Conversion of scikit-learn to ONNX: the same answers, also where 32-bit sums and splits differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import machine
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Applied, Example, Source
from jettison.domain.model import Model
from jettison.domain.profile import Profile, StageCost
from jettison.domain.recipe import Potential, Refusal
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.encoders.tabular import TabularEncoder
from jettison.errors import CandidateFailed
from jettison.graphs.sklearn_onnx import convert
from jettison.graphs.sklearn_pipeline import facts_of
from jettison.graphs.sklearn_thresholds import rows_at_thresholds
from jettison.loaders.scikit_learn import ScikitLearnLoader
from jettison.techniques.convert_sklearn import ConvertSklearn
from jettison.testing import contracts
from jettison.worker.workbench import Bench

for package in ("sklearn", "skl2onnx", "onnxruntime"):
    pytest.importorskip(package)
pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def adult(shared_data: Path) -> Any:
    return pd.read_csv(shared_data / "tabular" / "adult-train.csv.gz", nrows=2500)


def numbers_of(adult: Any) -> list[str]:
    return list(adult.select_dtypes("number").columns)


def prepared(estimator: Any, table: Any, folder: Path) -> tuple[Model, FittingData]:
    """Loads an estimator, and encodes a table for it."""
    model = ScikitLearnLoader().load(Source("", live=estimator), folder / "model")
    kind = TabularEncoder()
    bound = kind.bind(model.encoder, model, tuple(table.columns))
    columns = {name: table[name].to_numpy() for name in table.columns}
    arrays = kind.encode(bound, model, Example(columns, len(table))).arrays
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
    return model, FittingData(Rows(str(folder), tuple(arrays), len(table)), seed=3)


def bench_in(folder: Path) -> Bench:
    (folder / "out").mkdir()
    return Bench(folder / "out", folder, machine.describe_device(), ServingProfile())


def converted(estimator: Any, table: Any, folder: Path) -> tuple[Model, Applied, Array, Array]:
    """Converts; gives the answers of the estimator and of the graph as well."""
    model, fitting = prepared(estimator, table, folder)
    bench = bench_in(folder)
    applied = ConvertSklearn().apply(model, {}, fitting, bench)
    rows = fitting.rows.batch(slice(0, fitting.rows.n))
    before = bench.runner(model).run(rows)[model.prediction]
    after = bench.runner(applied.model).run(rows)[model.prediction]
    return model, applied, before, after


def test_forest_ties_keep_their_label(adult: Any, tmp_path: Path) -> None:
    """An even number of trees often ties at 0.5; the label stays the one of scikit-learn."""
    from sklearn.ensemble import RandomForestClassifier

    table = adult[numbers_of(adult)]
    forest = RandomForestClassifier(20, random_state=0).fit(table[:1000], adult["income"][:1000])
    model, applied, before, after = converted(forest, table, tmp_path)
    tied = before[:, 0] == 0.5
    assert tied.sum() > 10
    np.testing.assert_array_equal(after[tied], 0.5)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    np.testing.assert_allclose(before, after, atol=1e-6)
    assert applied.model.inputs == model.inputs
    assert applied.model.traits == {"onnx", "trees"}
    assert "0 of 2500 answers changed" in applied.changes[0].what


def test_plain_conversion_breaks_ties(adult: Any) -> None:
    """What skl2onnx writes by itself moves ties off 0.5, to either side: the repair is needed."""
    import onnxruntime
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier

    table = adult[numbers_of(adult)].astype(np.float32)
    forest = RandomForestClassifier(20, random_state=0).fit(table[:1000], adult["income"][:1000])
    graph = convert_sklearn(
        forest,
        initial_types=[("X", FloatTensorType([None, table.shape[1]]))],
        options={"zipmap": False},
        target_opset=17,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    plain = session.run(["probabilities"], {"X": table.to_numpy()})[0]
    tied = forest.predict_proba(table)[:, 0] == 0.5
    assert (plain[tied, 0] != 0.5).any()
    assert np.abs(plain[tied, 0] - 0.5).max() < 1e-6


def test_scaled_trees_are_scaled_in_64_bits(adult: Any, tmp_path: Path) -> None:
    """Scaling in 32 bits sends rows down other branches; that precision is not kept."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    table = adult[numbers_of(adult)]
    tree = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
    tree.fit(table, adult["income"])
    _, applied, before, after = converted(tree, table[:500], tmp_path)
    assert "float64 before the trees" in applied.changes[0].what
    assert "not kept, in float32" in applied.changes[0].what
    np.testing.assert_array_equal(before, after)


def test_pipeline_with_imputers_and_text(adult: Any, tmp_path: Path) -> None:
    """Missing numbers are filled as before, text imputers have nothing to do, answers agree."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = numbers_of(adult)
    table = adult.drop(columns="income").copy()
    table["age"] = table["age"].astype(float)
    table.loc[::7, "age"] = np.nan
    text = [c for c in table.columns if c not in numbers]
    filled = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    estimator = make_pipeline(
        ColumnTransformer([("n", scaled, numbers), ("t", filled, text)]),
        RandomForestClassifier(10, random_state=0),
    ).fit(table, adult["income"])
    model, applied, before, after = converted(estimator, table[:400], tmp_path)
    assert applied.model.inputs == model.inputs
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_missing_values_take_the_same_branch(adult: Any, tmp_path: Path) -> None:
    """A forest that was fitted with missing numbers sends them the same way after conversion."""
    from sklearn.ensemble import ExtraTreesRegressor

    table = adult[numbers_of(adult)].astype(float)
    holed = table.where(table != 40)
    forest = ExtraTreesRegressor(5, random_state=0).fit(holed, table["age"])
    model, _, before, after = converted(forest, holed[:400], tmp_path)
    assert model.encoder.settings["missing"] == ["X"]
    assert np.isnan(holed[:400].to_numpy()).any()
    np.testing.assert_allclose(before, after, rtol=1e-5)


def test_a_vote_of_models(adult: Any, tmp_path: Path) -> None:
    """A soft vote converts although skl2onnx refuses its default settings."""
    from sklearn.ensemble import RandomForestClassifier, VotingClassifier
    from sklearn.naive_bayes import GaussianNB

    table = adult[["age", "education-num"]]
    parts = [("a", GaussianNB()), ("b", RandomForestClassifier(5, random_state=0))]
    vote = VotingClassifier(parts, voting="soft").fit(table, adult["income"])
    _, _, before, after = converted(vote, table[:300], tmp_path)
    np.testing.assert_allclose(before, after, atol=1e-5)
    assert vote.flatten_transform is True


def test_columns_of_an_array_by_number(adult: Any, tmp_path: Path) -> None:
    """A ColumnTransformer over an array takes its full width, unused columns too."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    table = adult[numbers_of(adult)]
    parts = [("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), slice(2, 5))]
    estimator = make_pipeline(
        ColumnTransformer(parts), RandomForestClassifier(6, random_state=0)
    ).fit(table.to_numpy(), adult["income"])
    model, _, before, after = converted(estimator, table[:300], tmp_path)
    assert model.inputs[0].shape == ("batch", 6)
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_linear_models(adult: Any, tmp_path: Path) -> None:
    """Scores without probabilities, and regressors, convert as well."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    table = adult[numbers_of(adult)]
    for number, (final, target) in enumerate(
        [(LinearSVC(), adult["race"]), (LinearSVC(), adult["income"]), (Ridge(), table["age"])]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        estimator = make_pipeline(StandardScaler(), final).fit(table, target)
        _, applied, before, after = converted(estimator, table[:300], folder)
        np.testing.assert_allclose(before, after, atol=1e-4, rtol=1e-4)
        assert applied.model.outputs[0].shape == ("batch", before.shape[1])


def test_what_cannot_be_converted_stays_a_baseline(adult: Any, tmp_path: Path) -> None:
    """HistGradientBoosting is refused in the plan with the reason, and fails if tried anyway."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    table = adult[numbers_of(adult)]
    estimator = HistGradientBoostingClassifier(max_iter=3).fit(table, adult["income"])
    model, fitting = prepared(estimator, table[:50], tmp_path)
    refusal = ConvertSklearn().potential(model, profile())
    assert isinstance(refusal, Refusal)
    assert "can't convert HistGradientBoostingClassifier" in refusal.reason
    with pytest.raises(CandidateFailed, match="skl2onnx can't convert this `HistGradient"):
        ConvertSklearn().apply(model, {}, fitting, bench_in(tmp_path))


def profile() -> Profile:
    return Profile(
        device=machine.describe_device(),
        serving=ServingProfile(),
        stages=(StageCost("model", 5.0, 0.9),),
        layers=(),
        bound=10.0,
        noise_floor=0.02,
        size_bytes=1000,
    )


@pytest.mark.slow
def test_contract(adult: Any, tmp_path: Path) -> None:
    """The technique keeps every promise of the contract suite, in worker processes."""
    from sklearn.ensemble import RandomForestClassifier

    table = adult[numbers_of(adult)]
    forest = RandomForestClassifier(5, random_state=0).fit(table, adult["income"])
    (tmp_path / "rows").mkdir()
    model, fitting = prepared(forest, table[:64], tmp_path / "rows")
    assert isinstance(ConvertSklearn().potential(model, profile()), Potential)
    contracts.check_technique(
        "convert_sklearn", model, fitting, tmp_path / "contract", profile=profile()
    )
    contracts.check_format("sklearn_skops", model, tmp_path / "format")
    contracts.check_encoder("tabular", model)


def test_rows_at_thresholds_lie_at_thresholds(adult: Any) -> None:
    """Behind a scaler, the rows are found whose scaled value is a threshold."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    table = adult[numbers_of(adult)].astype(float)
    estimator = make_pipeline(
        MinMaxScaler(), StandardScaler(), DecisionTreeClassifier(max_depth=4, random_state=0)
    ).fit(table.to_numpy(), adult["income"])
    facts = facts_of(estimator)
    rows = rows_at_thresholds(estimator, facts, {"X": table.to_numpy()}, 1000, 0)
    assert rows is not None
    inner = estimator[-1].tree_.children_left != -1
    thresholds = estimator[-1].tree_.threshold[inner]
    assert len(rows["X"]) == 5 * inner.sum()
    scaled = estimator[:-1].transform(rows["X"][::5])
    nearest = np.abs(scaled[:, :, None] - thresholds).min(axis=(1, 2))
    assert nearest.max() < 1e-9


def test_the_estimator_is_not_changed(adult: Any) -> None:
    """Converting leaves the estimator as it was."""
    import pickle

    from sklearn.ensemble import RandomForestClassifier

    table = adult[numbers_of(adult)].to_numpy()
    forest = RandomForestClassifier(3, random_state=0).fit(table, adult["income"])
    before = pickle.dumps(forest)
    convert(forest, facts_of(forest), "float32")
    assert pickle.dumps(forest) == before
