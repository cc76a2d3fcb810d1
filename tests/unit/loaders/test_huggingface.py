"""Loading Hugging Face folders: what is found out, and what is refused and why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jettison import registry
from jettison.domain.extension_points import Source
from jettison.domain.model import Model
from jettison.errors import ModelError

pytest.importorskip("transformers")


def load(folder: Path, target: Path, task: str = "", **options: int) -> Model:
    source = Source(str(folder), task, options)
    loader = registry.get("loaders", "huggingface")
    assert loader.claims(source)
    return loader.load(source, target)


@pytest.fixture
def mine(tiny_classifier: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_classifier, folder)
    return folder


def edit(path: Path, **changes: Any) -> None:
    held = json.loads(path.read_text())
    held.update(changes)
    path.write_text(json.dumps({k: v for k, v in held.items() if v is not None}))


def test_classifier(mine: Path, tmp_path: Path) -> None:
    """A sequence classifier gives its task, labels in score order, inputs and logits."""
    model = load(mine, tmp_path / "out")
    assert model.task == "classification"
    assert model.encoder.labels == ("negative", "neutral", "positive")
    assert [s.name for s in model.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert {s.shape for s in model.inputs} == {("batch", "sequence")}
    assert model.outputs[0].name == model.prediction == "logits"
    assert model.outputs[0].shape == ("batch", 3)
    assert model.traits == {"torch", "float32", "dense", "matmul", "attention"}
    assert model.encoder.settings["max_length"] == 64
    assert model.encoder.settings["pad_id"] == 0


def test_source_may_change_afterwards(mine: Path, tmp_path: Path) -> None:
    """The files are copied: the original may be deleted, and the model still opens."""
    model = load(mine, tmp_path / "out")
    shutil.rmtree(mine)
    opened = registry.get("formats", model.artifact.format).open(model.artifact)
    assert not opened.training


def test_source_is_left_alone(mine: Path, tmp_path: Path) -> None:
    """Loading writes nothing into the user's folder."""
    before = {p: p.stat().st_mtime_ns for p in mine.rglob("*")}
    load(mine, tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in mine.rglob("*")} == before


def test_embedding_pooling_is_read(minilm: Path, tmp_path: Path) -> None:
    """A sentence-transformers folder gives embeddings with the pooling that it states."""
    model = load(minilm, tmp_path / "out")
    assert (model.task, model.prediction) == ("embedding", "embedding")
    assert model.outputs[0].shape == ("batch", 384)
    assert model.encoder.settings["pooling"] == "mean"
    assert model.encoder.settings["normalize"] is True
    assert model.encoder.settings["pooling_stated"] is True
    assert model.encoder.settings["max_length"] == 256


def test_assumed_pooling_is_said(minilm: Path, tmp_path: Path) -> None:
    """Without a pooling module, mean pooling with normalisation is assumed and marked as such."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).symlink_to(minilm / name)
    model = load(folder, tmp_path / "out", max_length=16)
    assert model.encoder.settings["pooling"] == "mean"
    assert model.encoder.settings["pooling_stated"] is False


def test_vocabulary_is_converted(minilm: Path, tmp_path: Path) -> None:
    """A folder with only vocab.txt gets the same token ids as one with tokenizer.json."""
    from tokenizers import Tokenizer

    folder = tmp_path / "old"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        (folder / name).symlink_to(minilm / name)
    model = load(folder, tmp_path / "out", max_length=16)
    made = Tokenizer.from_file(str(Path(model.encoder.folder) / "tokenizer.json"))
    text = "Naïve café, isn't it? 漢字"
    original = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    original.no_padding()
    assert made.encode(text).ids == original.encode(text).ids


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def change(name: str, **changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / name, **changes)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20])


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def zeros(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\0" * 4096)


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"')


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def climbing_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def not_a_number(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] * float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def shape_that_does_not_fit(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = raw[8 : 8 + length].replace(b'"shape":[3,32]', b'"shape":[9,32]')
    assert header != raw[8 : 8 + length]
    path.write_bytes(raw[:8] + header + raw[8 + length :])


def overlapping(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    header[names[0]]["data_offsets"] = header[names[-1]]["data_offsets"]
    again = json.dumps(header).encode()
    path.write_bytes(len(again).to_bytes(8, "little") + again + raw[8 + length :])


def deep_header(folder: Path) -> None:
    header = b"[" * 100_000
    path = folder / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def without_head(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


BAD = {
    "remote code": (change("config.json", auto_map={"AutoModel": "m.M"}), "never runs code"),
    "tokenizer code": (
        change("tokenizer_config.json", auto_map={"AutoTokenizer": ["m.T", None]}),
        "tokenizer_config.json asks for Python code",
    ),
    "quantized": (change("config.json", quantization_config={"bits": 4}), "quantized already"),
    "pickle": (pickle_only, r"opening a pickle runs code.*save_pretrained"),
    "no weights": (remove("model.safetensors"), "has no model.safetensors"),
    "truncated": (truncate, "its header announces"),
    "cut header": (cut_header, "truncated or of another kind"),
    "empty": (empty, "0 bytes"),
    "zeros": (zeros, "truncated or of another kind"),
    "shape that does not fit": (shape_that_does_not_fit, "damaged header|can't build the model"),
    "overlapping weights": (overlapping, "damaged header|can't build the model"),
    "deep header": (deep_header, "damaged header"),
    "climbing index": (climbing_index, "not a file of this folder"),
    "missing shard": (missing_shard, "is missing, though the index"),
    "no tokenizer": (remove("tokenizer.json"), r"no vocabulary.*tokenizer.save_pretrained"),
    "broken tokenizer": (broken_tokenizer, "not a readable tokenizer"),
    "broken config": (broken_config, "can't be read as JSON"),
    "no architecture": (change("config.json", architectures=None), "must name `model_type`"),
    "unknown type": (
        change("config.json", model_type="jetbert", architectures=["JetBert"]),
        r"does not know `JetBert`",
    ),
    "other head": (
        change("config.json", architectures=["BertForQuestionAnswering"]),
        r"`BertForQuestionAnswering`.* is not supported",
    ),
    "several labels": (
        change("config.json", problem_type="multi_label_classification"),
        "several labels at once",
    ),
    "gap in labels": (
        change("config.json", id2label={"0": "a", "2": "b", "3": "c"}),
        "must number its labels",
    ),
    "wrong width": (change("config.json", hidden_size=64), r"lack \d+ weights|can't build"),
    "text for a size": (change("config.json", hidden_size="wide"), "can't build the model"),
    "odd heads": (change("config.json", num_attention_heads=5), "can't build the model"),
    "unknown activation": (change("config.json", hidden_act="jet"), "can't build the model"),
    "NaN weights": (not_a_number, "finite"),
    "missing head": (without_head, r"lack 1 weights .*classifier.weight"),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD.keys())
def test_refused(mine: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    """Each damaged or unsafe folder is one ModelError that says what is wrong."""
    spoil(mine)
    with pytest.raises(ModelError, match=said):
        load(mine, tmp_path / "out")


@pytest.mark.parametrize("length", [-1, 1, 65])
def test_max_length_beyond_the_model(mine: Path, tmp_path: Path, length: int) -> None:
    """A length that the model can't take is refused with the range that it can."""
    with pytest.raises(ModelError, match="from 2 to 64"):
        load(mine, tmp_path / "out", max_length=length)


def test_other_task(mine: Path, tmp_path: Path) -> None:
    """Asking a classifier for embeddings is refused."""
    with pytest.raises(ModelError, match="is for `classification`"):
        load(mine, tmp_path / "out", task="embedding")


def test_regression_head(mine: Path, tmp_path: Path) -> None:
    """A head with one output is a regression without labels."""
    import transformers

    config = transformers.BertConfig.from_pretrained(mine, num_labels=1)
    transformers.BertForSequenceClassification(config).save_pretrained(mine)
    model = load(mine, tmp_path / "out")
    assert (model.task, model.encoder.labels) == ("regression", ())


def test_unsupported_module(minilm: Path, tmp_path: Path) -> None:
    """A sentence-transformers folder with a module that is not supported names it."""
    folder = tmp_path / "dense"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).symlink_to(minilm / name)
    modules = [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="`Dense`"):
        load(folder, tmp_path / "out")


def test_pooling_outside_the_folder(mine: Path, tmp_path: Path) -> None:
    """A pooling path that climbs out of the folder is refused."""
    edit(mine / "config.json", architectures=["BertModel"])
    modules = [{"type": "sentence_transformers.models.Pooling", "path": "../../etc"}]
    (mine / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="outside of its folder"):
        load(mine, tmp_path / "out")


def test_claims_only_model_folders(tmp_path: Path, mine: Path) -> None:
    """A folder without config.json, a file and a missing path are left to other loaders."""
    loader = registry.get("loaders", "huggingface")
    assert loader.claims(Source(str(mine)))
    assert not loader.claims(Source(str(tmp_path)))
    assert not loader.claims(Source(str(mine / "config.json")))
    assert not loader.claims(Source(str(tmp_path / "absent")))
    assert not loader.claims(Source(""))
