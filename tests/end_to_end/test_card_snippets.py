"""The code of a card runs as it stands, in the folder of a bundle, for every kind of model file."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from jettison.domain.extension_points import Source
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.loaders.huggingface import HuggingfaceLoader
from jettison.loaders.onnx_file import OnnxLoader
from jettison.loaders.pytorch import PytorchLoader
from jettison.loaders.scikit_learn import ScikitLearnLoader
from jettison.reporting.model_card_snippet import snippet
from tests.openvino_models import converted

SERVED = Step("any")

pytestmark = pytest.mark.slow


def answer(model: Model, folder: Path, runtime: Step = SERVED) -> str:
    """Runs the snippet beside a copy of the model's files, as in a bundle; gives what it prints."""
    for name in model.artifact.files:
        (folder / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(model.artifact.folder) / name, folder / "model" / name)
    code = re.fullmatch(r"```python\n(.*)\n```", snippet(model, runtime), re.S)
    assert code is not None
    run = subprocess.run(
        [sys.executable, "-P", "-c", code[1]],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_onnx_and_openvino(shared_data: Path, tmp_path: Path) -> None:
    """A network for digits gives ten scores from an ONNX file, and the same ten from OpenVINO IR."""
    pytest.importorskip("openvino")
    (tmp_path / "a").mkdir()
    source = Source(str(shared_data / "models" / "mnist-cnn-cntk.onnx"))
    model = OnnxLoader().load(source, tmp_path / "a")
    told = answer(model, tmp_path / "onnx")
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+(?:e[+-]\d+)?", told)]
    assert len(numbers) == 10
    ir = answer(
        converted(model, tmp_path / "b"), tmp_path / "ir", Step("openvino", {"precision": "f32"})
    )
    again = [float(n) for n in re.findall(r"-?\d+\.\d+(?:e[+-]\d+)?", ir)]
    assert again == pytest.approx(numbers, rel=1e-3, abs=1e-2)


def test_torch_program(tmp_path: Path) -> None:
    """An exported module of two inputs answers by the name of its output."""
    torch = pytest.importorskip("torch")

    class Pair(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(3, 2)
            torch.nn.init.ones_(self.line.weight)
            torch.nn.init.zeros_(self.line.bias)

        def forward(self, left: object, right: object) -> object:
            return self.line(left) + self.line(right)

    (tmp_path / "a").mkdir()
    inputs = "left: float32[batch, 3]\nright: float32[batch, 3]"
    source = Source("", "classification", {"inputs": inputs}, live=Pair())
    model = PytorchLoader().load(source, tmp_path / "a")
    assert "[6., 6.]" in answer(model, tmp_path / "bundle")


def test_hugging_face_folder(tiny_classifier: Path, tmp_path: Path) -> None:
    """A BERT of a Hugging Face folder gives its three scores."""
    (tmp_path / "a").mkdir()
    model = HuggingfaceLoader().load(Source(str(tiny_classifier)), tmp_path / "a")
    assert len(re.findall(r"-?\d+\.\d+", answer(model, tmp_path / "bundle"))) == 3


def test_scikit_learn(tmp_path: Path) -> None:
    """A pipeline over a table of texts and numbers is asked with a row of its columns."""
    pd = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table = pd.DataFrame({"job": ["a", "b", "a", "b"], "hours per week": [1.0, 2.0, 3.0, 4.0]})
    encode = make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough")
    pipeline = make_pipeline(encode, LogisticRegression()).fit(table, [0, 0, 1, 1])
    (tmp_path / "a").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ScikitLearnLoader().load(Source("", live=pipeline), tmp_path / "a")
    shown = re.findall(r"\d\.\d+", answer(model, tmp_path / "bundle"))
    assert sum(map(float, shown)) == pytest.approx(1.0, abs=1e-6)


def test_scikit_learn_on_an_array(tmp_path: Path) -> None:
    """An estimator that was fitted on an array is asked with one."""
    import numpy as np
    from sklearn.linear_model import LinearRegression

    line = LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0])
    (tmp_path / "a").mkdir()
    model = ScikitLearnLoader().load(Source("", live=line), tmp_path / "a")
    told = answer(model, tmp_path / "bundle")
    assert float(re.findall(r"\d+\.?\d*", told)[0]) == pytest.approx(
        float(line.predict(np.ones((1, 3)))[0]), abs=1e-3
    )
