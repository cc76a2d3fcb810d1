"""The stage load: the right loader, in a worker; clear errors for what nobody can load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jettison.demo import find_network
from jettison.domain.configuration import ModelSection
from jettison.errors import ModelError
from jettison.pipeline.load import load_model


def test_onnx_through_a_worker(tmp_path: Path) -> None:
    """An .onnx file is loaded in a worker into the folder that was named."""
    model = load_model(ModelSection(str(find_network().model)), tmp_path / "new" / "model")
    assert model.artifact.format == "onnx_file"
    assert Path(model.artifact.folder) == (tmp_path / "new" / "model").resolve()


def test_an_error_of_the_worker_is_the_same_error_here(tmp_path: Path) -> None:
    """What the loader refuses in the worker is raised here with its message."""
    (tmp_path / "net.onnx").touch()
    with pytest.raises(ModelError, match=r"net\.onnx` is empty"):
        load_model(ModelSection(str(tmp_path / "net.onnx")), tmp_path / "model")


def test_a_live_estimator(tmp_path: Path) -> None:
    """A fitted estimator of this process is saved and described."""
    linear = pytest.importorskip("sklearn.linear_model")
    estimator = linear.LinearRegression().fit(np.arange(6.0).reshape(3, 2), [1.0, 2.0, 3.0])
    model = load_model(ModelSection(""), tmp_path, live=estimator)
    assert (model.artifact.format, model.task) == ("sklearn_skops", "regression")


def test_pickle_needs_trust(tmp_path: Path) -> None:
    """`trust_pickle` of the configuration reaches the loader."""
    linear = pytest.importorskip("sklearn.linear_model")
    import pickle

    estimator = linear.LinearRegression().fit(np.arange(6.0).reshape(3, 2), [1.0, 2.0, 3.0])
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(estimator))
    with pytest.raises(ModelError, match="trust_pickle = true"):
        load_model(ModelSection(str(tmp_path / "m.pkl")), tmp_path / "model")
    trusted = ModelSection(str(tmp_path / "m.pkl"), trust_pickle=True)
    assert load_model(trusted, tmp_path / "model").artifact.format == "sklearn_skops"


@pytest.mark.parametrize("given", ["", "missing.onnx"])
def test_nothing_there(given: str, tmp_path: Path) -> None:
    """A path to nothing says where was looked and what can be given."""
    with pytest.raises(ModelError, match=r"there is no model at .*looked in .*\.onnx file"):
        load_model(ModelSection(given), tmp_path)


def test_nobody_knows_it(tmp_path: Path) -> None:
    """A file of another kind lists what is supported."""
    (tmp_path / "model.xyz").write_text("hello")
    with pytest.raises(ModelError, match=r"no loader knows what .*model\.xyz` is .*ONNX file"):
        load_model(ModelSection(str(tmp_path / "model.xyz")), tmp_path / "model")
    with pytest.raises(ModelError, match=r"no loader knows what a `builtins\.dict` is"):
        load_model(ModelSection(""), tmp_path / "model", live={})


def test_the_prediction_can_be_named(tmp_path: Path) -> None:
    """Of several outputs the named one is read; another name, or another kind of model, is refused."""
    onnx = pytest.importorskip("onnx")
    text = "g (float[b, 4] x) => (float[b, 4] y, float[b, 4] z) { y = Relu (x) z = Abs (x) }"
    header = '<ir_version: 8, opset_import: ["" : 17]>'
    path = str(tmp_path / "two.onnx")
    onnx.save(onnx.parser.parse_model(f"{header} {text}"), path)
    with pytest.raises(ModelError, match=r"Name it with `model\.prediction`"):
        load_model(ModelSection(path), tmp_path / "model")
    assert load_model(ModelSection(path, prediction="z"), tmp_path / "model").prediction == "z"
    with pytest.raises(ModelError, match=r"`model\.prediction` is `q`, no output of .*`y` float32"):
        load_model(ModelSection(path, prediction="q"), tmp_path / "model")
    linear = pytest.importorskip("sklearn.linear_model")
    estimator = linear.LinearRegression().fit(np.arange(6.0).reshape(3, 2), [1.0, 2.0, 3.0])
    with pytest.raises(ModelError, match="`prediction` in `model` is not for this kind"):
        load_model(ModelSection("", prediction="z"), tmp_path / "other", live=estimator)
