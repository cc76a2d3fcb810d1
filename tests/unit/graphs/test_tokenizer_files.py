"""A tokenizer.json beside an ONNX graph that takes token ids makes it a text model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded, Example, Source
from jettison.domain.model import Model
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.errors import ModelError
from jettison.worker.workbench import Bench

pytest.importorskip("torch")
pytest.importorskip("transformers")

TOKENIZER = registry.get("encoders", "tokenizer")


@pytest.fixture(scope="module")
def exported(
    tiny_classifier: Path,
    tmp_path_factory: pytest.TempPathFactory,
    write_rows: Callable[[Encoded, Path], Rows],
) -> Path:
    """A folder with the exported classifier, its tokenizer and its class names."""
    root = tmp_path_factory.mktemp("exported")
    model = registry.get("loaders", "huggingface").load(Source(str(tiny_classifier)), root / "m")
    made = TOKENIZER.made_up(model.encoder, model, 4, seed=0)
    fitting = FittingData(write_rows(made, root / "rows"))
    (root / "out").mkdir()
    bench = Bench(root / "out", root, machine.describe_device(), ServingProfile())
    registry.get("techniques", "export_onnx").apply(model, {}, fitting, bench)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_classifier / name, root / "out" / name)
    (root / "out" / "model.labels.json").write_text(json.dumps(["negative", "neutral", "positive"]))
    return root / "out"


def load(folder: Path, target: Path, **options: int) -> Model:
    source = Source(str(folder / "model.onnx"), "", options)
    return registry.get("loaders", "onnx_file").load(source, target)


def test_text_encoder(exported: Path, tiny_classifier: Path, tmp_path: Path) -> None:
    """The graph takes text through its tokenizer and answers as the Hugging Face folder does."""
    model = load(exported, tmp_path / "onnx")
    original = registry.get("loaders", "huggingface").load(
        Source(str(tiny_classifier)), tmp_path / "hf"
    )
    assert model.encoder.kind == "tokenizer"
    assert model.encoder.labels == original.encoder.labels
    assert model.encoder.settings["max_length"] == 64
    texts = {"text": np.array(["a good film.", "", "the film, bad, bad."], dtype=object)}
    answers = []
    for place, one in enumerate((model, original)):
        encoder = TOKENIZER.bind(one.encoder, one, ("text",))
        encoded = TOKENIZER.encode(encoder, one, Example(texts, 3))
        bench = Bench(tmp_path / str(place), tmp_path, machine.describe_device(), ServingProfile())
        answers.append(bench.runner(one).run(encoded.arrays)["logits"])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


def test_without_tokenizer(exported: Path, tmp_path: Path) -> None:
    """The same graph alone takes arrays."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(exported / "model.onnx", alone / "model.onnx")
    assert load(alone, tmp_path / "onnx").encoder.kind == "arrays"


@pytest.mark.parametrize(
    ("length", "said"), [(65, "from 2 to 64"), (1, "from 2 to 64"), (-3, "from 2 to 64")]
)
def test_length_beyond_the_tokenizer(
    exported: Path, tmp_path: Path, length: int, said: str
) -> None:
    """A length that the tokenizer does not allow is refused with its range."""
    with pytest.raises(ModelError, match=said):
        load(exported, tmp_path / "onnx", max_length=length)


def test_length_beyond_the_graph(exported: Path, tmp_path: Path) -> None:
    """A length at which the graph fails is found out at once, not while it serves."""
    folder = tmp_path / "unlimited"
    shutil.copytree(exported, folder)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="can't take 256 tokens"):
        load(folder, tmp_path / "onnx")
    assert load(folder, tmp_path / "shorter", max_length=32).encoder.settings["max_length"] == 32


def test_damaged_tokenizer(exported: Path, tmp_path: Path) -> None:
    """A tokenizer.json that can't be read is an error, not a model of arrays."""
    folder = tmp_path / "damaged"
    shutil.copytree(exported, folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="not a readable tokenizer"):
        load(folder, tmp_path / "onnx")
