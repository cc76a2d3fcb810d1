"""Token classifiers, image classifiers and hidden states from Hugging Face folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import registry
from jettison.domain.configuration import ImageSection, ModelSection
from jettison.domain.encoder import Encoder
from jettison.domain.extension_points import Example, Source
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import ModelError
from jettison.graphs.image_processor import image_settings
from jettison.pipeline.load import load_model
from tests import huggingface_folders as folders

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
Writer = Callable[[Path], list[str]]
LIBRARY = "sentence_transformers"


def load(folder: Path, target: Path, task: str = "") -> Model:
    return registry.get("loaders", "huggingface").load(Source(str(folder), task), target)


def opened(model: Model) -> Any:
    return registry.get("formats", model.artifact.format).open(model.artifact)


def test_a_token_classifier(tmp_path: Path, write_wordpiece: Writer) -> None:
    """It gives scores of each tag for each token, and the names of the tags."""
    folder = folders.token_classifier(tmp_path / "tagger", write_wordpiece)
    model = load(folder, tmp_path / "out")
    assert model.task == "token-classification"
    assert model.encoder.labels == folders.TAGS
    assert model.outputs[0].shape == ("batch", "sequence", 3)
    whole = transformers.BertForTokenClassification.from_pretrained(folder).eval()
    ids = torch.randint(5, 30, (2, 7))
    with torch.inference_mode():
        expected = whole(input_ids=ids).logits
        found = opened(model)(ids, torch.ones_like(ids), torch.zeros_like(ids))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("task", ["", "feature-extraction"])
def test_hidden_states(task: str, tmp_path: Path, write_wordpiece: Writer) -> None:
    """An encoder is pooled, unless the vectors of its tokens are asked for; both reload so."""
    folder = folders.encoder(tmp_path / "bert", write_wordpiece)
    model = load(folder, tmp_path / "out", task)
    each = task != ""
    assert model.task == "embedding"
    assert model.outputs[0].shape == (("batch", "sequence", 32) if each else ("batch", 32))
    assert model.encoder.settings["pooling"] == ("none" if each else "mean")
    again = registry.get("formats", "huggingface_folder").save(opened(model), tmp_path / "again")
    assert (
        again.digest
        == registry.get("formats", "huggingface_folder")
        .save(opened(model), tmp_path / "third")
        .digest
    )
    ids = torch.randint(5, 30, (2, 7))
    answer = registry.get("formats", "huggingface_folder").open(again)(
        ids, torch.ones_like(ids), torch.zeros_like(ids)
    )
    assert answer.shape == ((2, 7, 32) if each else (2, 32))


def sentence_folder(folder: Path, write_wordpiece: Writer, **pooling: bool) -> Path:
    """An encoder as sentence-transformers saves one: cased tokenizer, lower-cased texts, prompts."""
    folders.encoder(folder, write_wordpiece)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    held = {
        "tokenizer.json": tokenizer,
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{LIBRARY}.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{LIBRARY}.models.Pooling"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": 32,
            "pooling_mode_mean_tokens": True,
            **pooling,
        },
        "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": True},
        "config_sentence_transformers.json": {
            "prompts": {"query": "The bad film: ", "passage": ""},
            "default_prompt_name": "query",
        },
    }
    (folder / "1_Pooling").mkdir()
    for name, content in held.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def encoded(model: Model, texts: list[str]) -> Any:
    kind = registry.get("encoders", "tokenizer")
    encoder = kind.bind(model.encoder, model, ("text",))
    column = np.array(texts, dtype=object)
    return kind.encode(encoder, model, Example({"text": column}, len(texts))).arrays


def test_texts_are_worded_as_sentence_transformers_does(
    tmp_path: Path, write_wordpiece: Writer
) -> None:
    """Its default prompt and lower case are kept; the vectors of tokens are those of the bare model."""
    folder = sentence_folder(tmp_path / "bert", write_wordpiece)
    model = load(folder, tmp_path / "out")
    bare = load(folder, tmp_path / "bare", "feature-extraction")
    found = encoded(model, ["GOOD", "a Good Film"])
    expected = encoded(bare, ["the bad film: good", "the bad film: a good film"])
    np.testing.assert_array_equal(found["input_ids"], expected["input_ids"])
    assert (
        encoded(bare, ["GOOD"])["input_ids"].tolist()
        != encoded(bare, ["good"])["input_ids"].tolist()
    )
    (folder / "config_sentence_transformers.json").unlink()
    (folder / "sentence_bert_config.json").unlink()
    plain = load(folder, tmp_path / "plain")
    assert "prompt" not in plain.encoder.settings
    assert plain.encoder.digest != model.encoder.digest
    assert (
        encoded(plain, ["GOOD"])["input_ids"].tolist()
        == encoded(bare, ["GOOD"])["input_ids"].tolist()
    )


@pytest.mark.slow
def test_answers_of_sentence_transformers(tmp_path: Path, write_wordpiece: Writer) -> None:
    """The library itself gives the same vectors."""
    library = pytest.importorskip(LIBRARY)
    folder = sentence_folder(tmp_path / "bert", write_wordpiece)
    model = load(folder, tmp_path / "out")
    texts = ["GOOD", "A Good, bad FILM."]
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    rows = encoded(model, texts)
    with torch.inference_mode():
        found = opened(model)(*(torch.from_numpy(rows[spec.name]) for spec in model.inputs))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_prompts_that_can_not_be_kept(tmp_path: Path, write_wordpiece: Writer) -> None:
    """One whose tokens are not pooled, and one without a text, are refused with what to do."""
    folder = sentence_folder(tmp_path / "bert", write_wordpiece, include_prompt=False)
    with pytest.raises(ModelError, match="`include_prompt` is false"):
        load(folder, tmp_path / "out")
    asked = {"prompts": {}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(asked))
    with pytest.raises(ModelError, match="has no text of this name"):
        load(folder, tmp_path / "out")
    asked["default_prompt_name"] = None
    (folder / "config_sentence_transformers.json").write_text(json.dumps(asked))
    assert "prompt" not in load(folder, tmp_path / "out").encoder.settings


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("make", "traits"),
    [
        (folders.vision_transformer, {"matmul", "attention", "convolution"}),
        (folders.residual_network, {"matmul", "convolution"}),
    ],
)
def test_an_image_classifier(
    make: Callable[[Path], Path], traits: set[str], tmp_path: Path
) -> None:
    """Pixels reach it as transformers' own processor prepares them, and it answers the same."""
    folder = make(tmp_path / "net")
    model = load(folder, tmp_path / "out")
    assert model.task == "classification"
    assert model.encoder.labels == folders.KINDS
    assert model.traits == {"torch", "dense", "float32"} | traits
    assert model.inputs[0].shape == ("batch", 3, 16, 16)
    held = json.loads((folder / "preprocessor_config.json").read_text())
    pil = getattr(
        transformers,
        "ConvNextImageProcessorPil" if "crop_pct" in held else "ViTImageProcessorPil",
    )
    processor = pil(**{k: v for k, v in held.items() if k != "image_processor_type"})
    images = [picture(16, 16), picture(40, 31), picture(23, 50)]
    expected = processor(images, return_tensors="np")["pixel_values"]
    kind = registry.get("encoders", "image")
    values = np.empty(3, dtype=object)
    values[:] = images
    bound = kind.bind(model.encoder, model, ("image",))
    found = kind.encode(bound, model, Example({"image": values}, 3)).arrays["pixel_values"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    whole = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            opened(model)(torch.from_numpy(found)), whole(torch.from_numpy(found)).logits
        )


KINDLESS = {k: v for k, v in folders.SQUARE.items() if k != "image_processor_type"}

CROP = {"do_center_crop": True, "crop_size": 16}
CROPPED = {
    "do_center_crop": True,
    "size": {"shortest_edge": 16},
    "crop_size": {"height": 16, "width": 16},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"do_pad": True}, "asks for `do_pad`"),
        ({"include_top": True}, "asks for `include_top`"),
        ({"resample": 4}, "`resample` of .* is 4"),
        ({"size": {"shortest_edge": 20}}, "`shortest_edge` without a crop"),
        ({"size": {"height": "big", "width": 1}}, "must be a height and a width"),
        ({"image_mean": [0.1, 0.2]}, "`image_mean` of .* must hold 3 numbers"),
        ({"size": {"height": 20, "width": 20}}, "can't run 2 images"),
        (CROPPED | {"crop_pct": 0.9}, "asks for `crop_pct`"),
        (CROPPED | {"image_processor_type": "LevitImageProcessorPil"}, "asks for `LevitImage"),
        ({"do_pad": True}, "net/preprocessor_config.json asks"),
    ],
)
def test_processors_that_are_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    """A step that the encoder would not do exactly is one clear message."""
    folder = folders.vision_transformer(tmp_path / "net")
    folders.write_processor(folder, folders.SQUARE | changes)
    with pytest.raises(ModelError, match=said):
        load(folder, tmp_path / "out")


def test_a_table_over_the_processor(tmp_path: Path) -> None:
    """What the table leaves out stays as the processor has it."""
    folder = folders.vision_transformer(tmp_path / "net")
    tables = {"image": ImageSection(filter="bicubic")}
    made = load_model(ModelSection(str(folder)), tmp_path / "out", tables=tables)
    alone = load_model(ModelSection(str(folder)), tmp_path / "alone")
    assert made.encoder.settings == {**alone.encoder.settings, "filter": "bicubic"}


def test_no_processor(tmp_path: Path) -> None:
    """Without a processor nothing says what the model sees."""
    folder = folders.vision_transformer(tmp_path / "net")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"has no preprocessor_config.json.*save_pretrained"):
        load(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "changes", "wanted"),
    [
        ("ConvNextFeatureExtractor", {"size": 14, "crop_pct": 0.875}, "ConvNextImageProcessorPil"),
        ("DeiTFeatureExtractor", {"size": 20} | CROP, "DeiTImageProcessorPil"),
        ("CLIPFeatureExtractor", {"size": 20} | CROP, "CLIPImageProcessorPil"),
        ("ViTFeatureExtractor", {"size": 16}, "ViTImageProcessorPil"),
    ],
)
def test_sizes_of_one_number(
    kind: str, changes: dict[str, Any], wanted: str, tmp_path: Path
) -> None:
    """Older files state one number: the shorter side or a square, by the kind of processor."""
    held = KINDLESS | changes | {"feature_extractor_type": kind}
    settings = image_settings(held, {}, tmp_path)
    images = [picture(40, 31), picture(23, 50)]
    plain = {k: v for k, v in held.items() if k not in ("feature_extractor_type", "size")}
    processor = getattr(transformers, wanted)(size=held["size"], **plain)
    expected = processor(images, return_tensors="np")["pixel_values"]
    values = np.empty(2, dtype=object)
    values[:] = images
    height, width = settings["size"]
    subject = Model(
        Artifact("none", "", (), "", 0),
        frozenset(),
        (TensorSpec("pixels", "float32", ("batch", 3, int(height), int(width))),),
        (),
        "",
        "classification",
        Encoder.of("image", settings | {"columns": ["image"]}),
    )
    made = registry.get("encoders", "image").encode(
        subject.encoder, subject, Example({"image": values}, 2)
    )
    np.testing.assert_allclose(made.arrays["pixels"], expected, atol=1e-5)


def test_what_a_processor_of_no_kind_does_not_say(tmp_path: Path) -> None:
    """One number with a crop may be either; a crop without a resize is not done here."""
    with pytest.raises(ModelError, match=r"the shorter side or a square.*shortest_edge"):
        image_settings(KINDLESS | {"size": 20} | CROP, {}, tmp_path)
    with pytest.raises(ModelError, match="`do_center_crop without do_resize`"):
        image_settings(KINDLESS | CROP | {"do_resize": False}, {}, tmp_path)
    bare = {k: v for k, v in KINDLESS.items() if not k.startswith("image_")}
    bare = {k: v for k, v in bare.items() if k != "do_normalize"}
    kind = {"feature_extractor_type": "MobileViTFeatureExtractor", "do_flip_channel_order": True}
    settings = image_settings(bare | kind | {"size": 20} | CROP, {}, tmp_path)
    assert (settings["channels"], settings["resize"]) == ("bgr", [20.0])
    assert "mean" not in settings


def test_small_sizes_of_convnext(tmp_path: Path) -> None:
    """ConvNeXt's processor resizes by a share and crops, below 384 pixels."""
    held = folders.SQUARE | {"size": {"shortest_edge": 224}, "crop_pct": 0.875}
    settings = image_settings(held, {}, tmp_path)
    assert (settings["size"], settings["fit"], settings["resize"]) == ([224, 224], "crop", [256])
    large = image_settings(held | {"size": {"shortest_edge": 384}}, {}, tmp_path)
    assert (large["size"], large["fit"]) == ([384, 384], "stretch")
