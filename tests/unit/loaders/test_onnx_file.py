"""The loader `onnx_file`: real networks, tasks, labels, batches and scikit-learn exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

from jettison.demo import find_network
from jettison.domain.extension_points import Example, Source
from jettison.domain.model import Model
from jettison.encoders.tabular import TabularEncoder
from jettison.errors import ModelError
from jettison.graphs import onnx_storage
from jettison.graphs.onnx_walk import nodes_of
from jettison.loaders.onnx_file import OnnxLoader


def load(path: Path, tmp_path: Path, task: str = "") -> Model:
    return OnnxLoader().load(Source(str(path), task), tmp_path / "copy")


def text_model(text: str, path: Path) -> Path:
    onnx.save(parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + text), path)
    return path


def scores(path: Path, **batch: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [np.asarray(out) for out in session.run(None, batch)]


def test_magika(tmp_path: Path) -> None:
    """Magika is a classifier of 214 types over 2,048 bytes; its answers do not change."""
    source = find_network().model
    model = load(source, tmp_path)
    assert (model.task, model.prediction) == ("classification", "target_label")
    assert [s.shape[1:] for s in (*model.inputs, *model.outputs)] == [(2048,), (214,)]
    assert "fixed-batch" not in model.traits
    rows = np.random.default_rng(0).integers(0, 257, (3, 2048)).astype(np.int32)
    np.testing.assert_array_equal(
        scores(source, bytes=rows)[0], scores(model.artifact.path, bytes=rows)[0]
    )


def test_a_graph_for_one_row(shared_data: Path, tmp_path: Path) -> None:
    """A graph that was saved for one row has the trait `fixed-batch`."""
    model = load(shared_data / "models" / "mnist-cnn-cntk.onnx", tmp_path)
    assert "fixed-batch" in model.traits
    assert model.inputs[0].shape == (1, 1, 28, 28)
    assert model.task == "classification"


def test_a_batch_that_is_free_in_name_only(tmp_path: Path) -> None:
    """A graph that says its batch is free but runs one row only is `fixed-batch` as well."""
    text = """
    g (float[batch, 4] x) => (float[batch, 4] y) <int64[2] s = {1, 4}> { y = Reshape (x, s) }
    """
    model = load(text_model(text, tmp_path / "r.onnx"), tmp_path)
    assert "fixed-batch" in model.traits
    assert model.inputs[0].shape[0] == 1


def test_a_batch_of_four_is_refused(tmp_path: Path) -> None:
    """A graph for exactly four rows can't be served by the row."""
    text = "g (float[4, 2] x) => (float[4, 2] y) { y = Relu (x) }"
    with pytest.raises(ModelError, match="takes exactly 4 rows a call: export the model with"):
        load(text_model(text, tmp_path / "four.onnx"), tmp_path)


def test_a_state_whose_rows_come_second_is_refused(tmp_path: Path) -> None:
    """A recurrent state (layers, rows, size) is not taken for a batch of as many rows as layers."""
    text = """
    g (float[b, 4] x, float[2, b, 4] state) => (float[2, b, 4] y) { y = Add (x, state) }
    """
    with pytest.raises(
        ModelError, match=r"`state` of .* has 2 as its first dimension, and `x` has"
    ):
        load(text_model(text, tmp_path / "state.onnx"), tmp_path)


def test_several_outputs_need_a_clear_one(tmp_path: Path) -> None:
    """Two float matrices leave the prediction open, which is said with both names."""
    text = "g (float[b, 4] x) => (float[b, 4] y, float[b, 4] z) { y = Relu (x) z = Abs (x) }"
    with pytest.raises(ModelError, match=r"can't tell which output .* `y` float32 .*`z`"):
        load(text_model(text, tmp_path / "two.onnx"), tmp_path)


@pytest.mark.parametrize(
    ("shape", "stated", "found"),
    [
        ("float[b, 3] y", "", "classification"),
        ("float[b, 3] y", "regression", "regression"),
        ("float[b, 3] y", "embedding", "embedding"),
        ("float[b, 1] y", "", "regression"),
    ],
)
def test_task(tmp_path: Path, shape: str, stated: str, found: str) -> None:
    """The width of the output tells the task, unless it is stated."""
    width = shape[9]
    text = f"g (float[b, {width}] x) => ({shape}) {{ y = Relu (x) }}"
    assert load(text_model(text, tmp_path / "t.onnx"), tmp_path, stated).task == found


@pytest.mark.parametrize(
    ("output", "operator", "found"),
    [
        ("scores", "Relu", "classification"),
        ("scores", "Softmax", "classification"),
        ("sentence_embedding", "Relu", "embedding"),
        ("pooled", "Relu", "embedding"),
        ("scores", "LpNormalization", "embedding"),
    ],
)
def test_a_wide_output(tmp_path: Path, output: str, operator: str, found: str) -> None:
    """A name, or rows of length 1 with signs, tell an embedding, unless something else is said."""
    text = f"g (float[b, 64] x) => (float[b, 64] {output}) {{ {output} = {operator} (x) }}"
    path = text_model(text, tmp_path / "t.onnx")
    assert load(path, tmp_path / "a").task == found
    assert load(path, tmp_path / "b", "classification").task == "classification"
    path.with_suffix(".labels.json").write_text(json.dumps([f"class {i}" for i in range(64)]))
    assert load(path, tmp_path / "c").task == "classification"


def test_a_task_that_does_not_fit(tmp_path: Path) -> None:
    """One column of numbers is no classification: probability or score can't be told apart."""
    text = "g (float[b, 1] x) => (float[b, 1] y) { y = Sigmoid (x) }"
    with pytest.raises(ModelError, match="does not fit the task `classification`"):
        load(text_model(text, tmp_path / "t.onnx"), tmp_path, "classification")
    with pytest.raises(ModelError, match="task `translation` is not one of"):
        load(text_model(text, tmp_path / "t.onnx"), tmp_path, "translation")


def test_sequences_of_scores_need_a_task(shared_data: Path, tmp_path: Path) -> None:
    """A speech network answers one row with many vectors: only an embedding fits, if stated."""
    path = shared_data / "speech" / "fsdd-digits-ctc.onnx"
    with pytest.raises(ModelError, match=r"set `model\.task` to embedding"):
        load(path, tmp_path)
    assert load(path, tmp_path, "embedding").task == "embedding"


def test_labels_beside_the_file(shared_data: Path, tmp_path: Path) -> None:
    """`NAME.labels.json` beside the file names the classes; a wrong number is an error."""
    path = tmp_path / "digits.onnx"
    path.write_bytes((shared_data / "models" / "mnist-cnn-cntk.onnx").read_bytes())
    beside = tmp_path / "digits.labels.json"
    beside.write_text(json.dumps([f"digit {i}" for i in range(10)]))
    assert load(path, tmp_path).encoder.labels[3] == "digit 3"
    beside.write_text(json.dumps(["a", "b"]))
    with pytest.raises(ModelError, match=r"holds 2 names .* has 10 scores"):
        load(path, tmp_path)
    beside.write_text('{"a": 1}')
    with pytest.raises(ModelError, match="must be a list of class names"):
        load(path, tmp_path)
    beside.write_text("[")
    with pytest.raises(ModelError, match="can't be read as JSON"):
        load(path, tmp_path)


def test_heavy_weights_are_split_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large single file is copied as a graph and a data file with the same answers."""
    monkeypatch.setattr(onnx_storage, "INLINE_LIMIT", 100_000)
    source = find_network().model
    model = load(source, tmp_path)
    assert model.artifact.files == ("model.onnx", "model.onnx.data")
    assert model.artifact.path.stat().st_size < 100_000
    rows = np.zeros((1, 2048), dtype=np.int32)
    np.testing.assert_array_equal(
        scores(source, bytes=rows)[0], scores(model.artifact.path, bytes=rows)[0]
    )


def test_the_source_is_not_changed(tmp_path: Path) -> None:
    """Loading leaves the user's file as it was."""
    source = tmp_path / "magika.onnx"
    source.write_bytes(find_network().model.read_bytes())
    before = source.read_bytes()
    load(source, tmp_path)
    assert source.read_bytes() == before


def test_claims(tmp_path: Path) -> None:
    """An .onnx file is claimed by its name, another by its first bytes."""
    odd = tmp_path / "network.bin"
    odd.write_bytes(find_network().model.read_bytes())
    other = tmp_path / "notes.txt"
    other.write_text("hello")
    named = tmp_path / "empty.onnx"
    named.touch()
    claims = OnnxLoader().claims
    assert claims(Source(str(odd)))
    assert claims(Source(str(named)))
    assert not claims(Source(str(other)))
    assert not claims(Source(str(tmp_path)))
    assert not claims(Source("", live=object()))


@pytest.mark.parametrize("zipmap", [True, False])
def test_scikit_learn_exports(tmp_path: Path, zipmap: bool) -> None:
    """A classifier exported by skl2onnx gives its probabilities, with or without `ZipMap`."""
    pytest.importorskip("skl2onnx")
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    estimator = LogisticRegression(max_iter=500).fit(x, names)
    options = {"zipmap": True} if zipmap else {"zipmap": False}
    types = [("X", FloatTensorType([None, 4]))]
    graph = convert_sklearn(
        estimator, initial_types=types, options={id(estimator): options}, target_opset=17
    )
    onnx.save(graph, tmp_path / "iris.onnx")
    model = load(tmp_path / "iris.onnx", tmp_path)
    assert model.prediction == "probabilities"
    assert model.encoder.labels == ("setosa", "versicolor", "virginica")
    found = scores(model.artifact.path, X=x.astype(np.float32))[-1]
    np.testing.assert_allclose(found, estimator.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("unknown", ["ignore", "error"])
def test_text_columns_of_scikit_learn(shared_data: Path, tmp_path: Path, unknown: str) -> None:
    """A pipeline over table columns is tabular, and knows its categories and whether they bind."""
    pytest.importorskip("skl2onnx")
    pd = pytest.importorskip("pandas")
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = pd.read_csv(shared_data / "tabular" / "adult-train.csv.gz", nrows=300)
    numbers, text = ["age", "hours-per-week"], ["sex", "race"]
    parts = [
        ("n", StandardScaler(), numbers),
        ("t", OneHotEncoder(handle_unknown=unknown), text),
    ]
    estimator = make_pipeline(ColumnTransformer(parts), LogisticRegression())
    estimator.fit(table, table["income"])
    types = [(c, FloatTensorType([None, 1])) for c in numbers]
    types += [(c, StringTensorType([None, 1])) for c in text]
    onnx.save(convert_sklearn(estimator, initial_types=types, target_opset=17), tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx", tmp_path)
    settings = model.encoder.settings
    assert model.encoder.kind == "tabular"
    assert settings["categories.sex"] == ["Female", "Male"]
    assert settings.get("strict") == (None if unknown == "ignore" else text)
    kind = TabularEncoder()
    bound = kind.bind(model.encoder, model, tuple(table.columns))
    assert bound.settings["columns"] == [*numbers, *text]
    columns = {name: table[name].to_numpy() for name in table.columns}
    batch = kind.encode(bound, model, Example(columns, len(table))).arrays
    np.testing.assert_allclose(
        scores(model.artifact.path, **batch)[-1], estimator.predict_proba(table), atol=1e-5
    )


@pytest.mark.parametrize("place", ["constant", "branch"])
def test_heavy_weights_in_constants_and_branches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Weights in `Constant` nodes and in branches of an If are loaded, large or small."""
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    text = {
        "constant": """
        g (float[b, 64] x) => (float[b, 64] y) {
          w = Constant <value: tensor = float[1] {0}> ()
          y = MatMul (x, w)
        }""",
        "branch": """
        g (float[b, 64] x) => (float[b, 64] y) {
          m = ReduceMax <keepdims = 0> (x)
          z = Constant <value: tensor = float {0}> ()
          c = Greater (m, z)
          y = If (c) <
            then_branch = t () => (float[b, 64] p) {
              w = Constant <value: tensor = float[1] {0}> ()
              p = MatMul (x, w) },
            else_branch = e () => (float[b, 64] n) { n = Neg (x) }
          >
        }""",
    }[place]
    graph = parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + text)
    node = next(n for n in nodes_of(graph) if list(n.output) == ["w"])
    node.attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(graph, tmp_path / "m.onnx")
    rows = np.abs(np.random.default_rng(1).standard_normal((3, 64))).astype(np.float32)
    for limit in (10**9, 1000):
        monkeypatch.setattr(onnx_storage, "INLINE_LIMIT", limit)
        model = load(tmp_path / "m.onnx", tmp_path)
        assert "matmul" in model.traits
        np.testing.assert_array_equal(
            scores(tmp_path / "m.onnx", x=rows)[0], scores(model.artifact.path, x=rows)[0]
        )


def test_scores_of_letters_over_time_are_a_transcription(tmp_path: Path) -> None:
    """Said to be one, three axes of scores are read with one name for each letter."""
    path = text_model(
        "letters (float[n, t, 3] x) => (float[n, t, 3] y) { y = Relu(x) }", tmp_path / "m.onnx"
    )
    path.with_suffix(".labels.json").write_text(json.dumps(["<blank>", "a", "b"]))
    made = load(path, tmp_path, "transcription")
    assert (made.task, made.encoder.labels) == ("transcription", ("<blank>", "a", "b"))
    path.with_suffix(".labels.json").write_text(json.dumps(["<blank>", "a"]))
    with pytest.raises(ModelError, match="3 scores"):
        load(path, tmp_path / "again", "transcription")


def test_scores_a_row_are_no_transcription(tmp_path: Path) -> None:
    """One vector a row has no time, and the message says what fits."""
    path = text_model(
        "scores (float[n, 3] x) => (float[n, 3] y) { y = Relu(x) }", tmp_path / "m.onnx"
    )
    with pytest.raises(ModelError, match="a transcription one text"):
        load(path, tmp_path, "transcription")


def test_operator_sets_are_named_once(tmp_path: Path) -> None:
    """`onnx.compose` names one set twice, which onnxruntime's quantizer refuses."""
    path = text_model(
        "scores (float[n, 3] x) => (float[n, 3] y) { y = Relu(x) }", tmp_path / "m.onnx"
    )
    graph = onnx.load(path)
    graph.opset_import.add(domain="", version=17)
    onnx.save(graph, path)
    made = load(path, tmp_path)
    assert [(one.domain, one.version) for one in onnx.load(made.artifact.path).opset_import] == [
        ("", 17)
    ]
