"""Real models and fitting rows for the contract suite."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.demo import find_network
from jettison.domain.configuration import DataSection, ImageSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Recipe, Step
from jettison.domain.rows import LENGTHS, Rows
from jettison.domain.splits import FittingData, Labels
from jettison.pipeline.apply import apply
from jettison.pipeline.load import load_model
from jettison.pipeline.profile import profile
from jettison.pipeline.split import load_data

NETWORKS = Path(__file__).resolve().parents[1] / "unit" / "graphs" / "torch_models.py"


@dataclass(frozen=True)
class Subject:
    """A model to try plug-ins on, with rows and a profile."""

    model: Model
    fitting: FittingData
    profile: Profile


def subject(source: str, folder: Path, n: int = 16, live: object = None) -> Subject:
    """Loads a model and makes up rows for it."""
    return described(load_model(ModelSection(source), folder / "model", live), folder, n)


def described(model: Model, folder: Path, n: int = 16) -> Subject:
    """Makes up rows for a model, and profiles it."""
    encoded = registry.get("encoders", model.encoder.kind).made_up(model.encoder, model, n, 0)
    rows_folder = folder / "rows"
    rows_folder.mkdir()
    for name, values in encoded.arrays.items():
        np.save(rows_folder / f"{name}.npy", values, allow_pickle=False)
    if encoded.lengths is not None:
        np.save(rows_folder / f"{LENGTHS}.npy", encoded.lengths, allow_pickle=False)
    names = tuple(spec.name for spec in model.inputs)
    rows = Rows(str(rows_folder), names, n, encoded.pad, "made up")
    found = profile(model, rows, ServingProfile(), folder / "profile")
    return Subject(model, FittingData(rows, seed=0), found)


@pytest.fixture(scope="session")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Magika: one convolution, two matrix products, 2,048 bytes in."""
    return subject(str(find_network().model), tmp_path_factory.mktemp("magika"))


@pytest.fixture(scope="session")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A random forest on scikit-learn's own breast cancer rows."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    inputs, targets = load_breast_cancer(return_X_y=True)
    live = RandomForestClassifier(n_estimators=20, random_state=0).fit(inputs, targets)
    return subject("", tmp_path_factory.mktemp("forest"), live=live)


@pytest.fixture(scope="session")
def classifier(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A BERT of two layers with random weights, as a Hugging Face folder."""
    return subject(str(tiny_classifier), tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A small convolutional network in PyTorch that takes images."""
    folder = tmp_path_factory.mktemp("program")
    section = ModelSection(f"{NETWORKS}:Conv", inputs=("image: float32[batch, 3, 32, 32]",))
    return described(
        load_model(section, folder / "model", tables={"image": ImageSection()}), folder
    )


@pytest.fixture(scope="session")
def packed(program: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The same network with layers of PyTorch that compute in 8 bits."""
    folder = tmp_path_factory.mktemp("packed")
    recipe = Recipe((Step("torch_fx_int8"),), Step("torch_eager"))
    made = apply(program.model, recipe, program.fitting, folder, ServingProfile())
    return Subject(made.model, program.fitting, program.profile)


@pytest.fixture(scope="session")
def transformer(classifier: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The same network after its export to ONNX."""
    folder = tmp_path_factory.mktemp("transformer")
    recipe = Recipe((Step("export_onnx"),), Step("onnx_runtime"))
    made = apply(classifier.model, recipe, classifier.fitting, folder, ServingProfile())
    found = profile(made.model, classifier.fitting.rows, ServingProfile(), folder / "profile")
    return Subject(made.model, classifier.fitting, found)


@pytest.fixture(scope="session")
def picture_graph(program: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The small convolutional network after its export to ONNX."""
    recipe = Recipe((Step("export_onnx"),), Step("onnx_runtime"))
    folder = tmp_path_factory.mktemp("picture_graph")
    made = apply(program.model, recipe, program.fitting, folder, ServingProfile())
    return Subject(made.model, program.fitting, program.profile)


@pytest.fixture(scope="session")
def pruned(classifier: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The same network with half of its weights zero, and rows with labels."""
    folder = tmp_path_factory.mktemp("pruned")
    recipe = Recipe((Step("magnitude_pruning", {"sparsity": 0.5}),), Step("torch_eager"))
    made = apply(classifier.model, recipe, classifier.fitting, folder, ServingProfile())
    rows = classifier.fitting.rows
    labelled = FittingData.of(rows, 0, np.arange(rows.n) % 3)
    return Subject(made.model, labelled, classifier.profile)


@pytest.fixture(scope="session")
def grouped(convolutional: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Magika with rows of two groups, one three times as large as the other."""
    folder = tmp_path_factory.mktemp("grouped") / "rows"
    shutil.copytree(convolutional.fitting.rows.folder, folder)
    rows = dataclasses.replace(convolutional.fitting.rows, folder=str(folder))
    labels = Labels(
        None, {"kind": np.array(["rare", "usual", "usual", "usual"])[np.arange(rows.n) % 4]}
    )
    fitting = FittingData.of(rows, 0, np.arange(rows.n) % 2, labels)
    return Subject(convolutional.model, fitting, convolutional.profile)


@pytest.fixture(scope="session")
def grouped_table(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A logistic regression that reads `sex`, with 200 rows of two groups and two classes."""
    from pandas import DataFrame
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    random, n = np.random.default_rng(0), 200
    age = random.normal(40, 10, n)
    sex = np.where(random.random(n) < 0.4, "f", "m").astype(object)
    targets = (age + 8 * (sex == "m") + random.normal(0, 5, n) > 44).astype(np.int64)
    table = DataFrame({"age": age, "sex": sex})
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["sex"]),
        remainder="passthrough",
    )
    live = make_pipeline(encode, LogisticRegression(max_iter=500)).fit(table, targets)
    folder = tmp_path_factory.mktemp("grouped_table")
    model = load_model(ModelSection(""), folder / "model", live)
    section = DataSection(target="y", groups=("sex",), fitting_rows=n)
    columns = {"age": age, "sex": sex, "y": targets}
    parts = {"fitting": columns, "selection": {**columns, "age": age + 0.5}}
    splits = load_data(section, model, folder / "data", parts)
    bound = dataclasses.replace(model, encoder=splits.encoder or model.encoder)
    found = profile(bound, splits.fitting.rows, ServingProfile(), folder / "profile")
    return Subject(bound, splits.fitting, found)


@pytest.fixture(scope="session")
def grouped_graph(grouped_table: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The same model as an ONNX graph."""
    recipe = Recipe((Step("convert_sklearn"),), Step("onnx_runtime"))
    folder = tmp_path_factory.mktemp("grouped_graph")
    made = apply(grouped_table.model, recipe, grouped_table.fitting, folder, ServingProfile())
    return Subject(made.model, grouped_table.fitting, grouped_table.profile)


@pytest.fixture(scope="session")
def openvino(transformer: Subject, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The same network as OpenVINO IR."""
    folder = tmp_path_factory.mktemp("openvino")
    recipe = Recipe((Step("convert_openvino"),), Step("openvino"))
    made = apply(transformer.model, recipe, transformer.fitting, folder, ServingProfile())
    found = profile(made.model, transformer.fitting.rows, ServingProfile(), folder / "profile")
    return Subject(made.model, transformer.fitting, found)
