"""The Hugging Face folder: opened without code or network, saved and opened again the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jettison import registry
from jettison.domain.extension_points import Source
from jettison.domain.model import Model
from jettison.errors import ModelError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
FORMAT = registry.get("formats", "huggingface_folder")


@pytest.fixture
def model(tiny_classifier: Path, tmp_path: Path) -> Model:
    return registry.get("loaders", "huggingface").load(Source(str(tiny_classifier)), tmp_path / "m")


def answer(module: object) -> np.ndarray:
    ids = torch.tensor([[2, 4, 6, 3], [2, 5, 3, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.inference_mode():
        return module(ids, mask, torch.zeros_like(ids)).numpy()  # type: ignore[operator]


def test_saved_and_opened_again(model: Model, tmp_path: Path) -> None:
    """Saving and opening again gives the same answers to the last bit."""
    native = FORMAT.open(model.artifact)
    artifact = FORMAT.save(native, tmp_path / "again")
    assert artifact.files == ("config.json", "model.safetensors")
    np.testing.assert_array_equal(answer(FORMAT.open(artifact)), answer(native))


def test_answers_of_transformers(model: Model, tiny_classifier: Path) -> None:
    """The logits are those that transformers gives for the user's folder."""
    import transformers

    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_classifier).eval()
    ids = torch.tensor([[2, 4, 6, 3], [2, 5, 3, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.inference_mode():
        expected = theirs(input_ids=ids, attention_mask=mask).logits.numpy()
    np.testing.assert_allclose(answer(FORMAT.open(model.artifact)), expected, atol=1e-6)


def test_embedding_keeps_its_pooling(minilm: Path, tmp_path: Path) -> None:
    """An embedding of MiniLM has length 1, and keeps its pooling when saved again."""
    model = registry.get("loaders", "huggingface").load(Source(str(minilm)), tmp_path / "m")
    native = FORMAT.open(model.artifact)
    vectors = answer(native)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    saved = FORMAT.save(native, tmp_path / "again")
    np.testing.assert_array_equal(answer(FORMAT.open(saved)), vectors)


def test_padding_does_not_change_an_embedding(minilm: Path, tmp_path: Path) -> None:
    """Mean pooling leaves out what the mask leaves out."""
    model = registry.get("loaders", "huggingface").load(Source(str(minilm)), tmp_path / "m")
    native = FORMAT.open(model.artifact)
    ids = torch.tensor([[101, 2204, 2143, 102]])
    longer = torch.nn.functional.pad(ids, (0, 5), value=77)
    mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 5))
    with torch.inference_mode():
        short = native(ids, torch.ones_like(ids), torch.zeros_like(ids)).numpy()
        padded = native(longer, mask, torch.zeros_like(longer)).numpy()
    np.testing.assert_allclose(short, padded, atol=1e-6)


def test_weights_replaced_by_a_pickle(model: Model) -> None:
    """A pickle in the place of the safetensors is not opened."""
    path = Path(model.artifact.folder) / "model.safetensors"
    torch.save({"x": torch.zeros(1)}, path.with_name("pytorch_model.bin"))
    path.unlink()
    with pytest.raises(ModelError, match="can't build the model"):
        FORMAT.open(model.artifact)
