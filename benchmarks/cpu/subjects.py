"""The models of the benchmark with their rows: for ranges, for searches, and for the verdict."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.cpu.margins import BATCH_SIZES, FITTING, SELECTION, THREADS
from benchmarks.cpu.records import WORK, Subject, rows_in
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.files import write_atomically
from jettison.domain.model import Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.record import to_json
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.pipeline.apply import apply
from jettison.pipeline.load import load_model

SERVING = ServingProfile(BATCH_SIZES, (0.5, 0.5), THREADS)
FEW = 64
"""Rows of the models that are only timed."""


def divided(
    name: str,
    model: Model,
    arrays: Mapping[str, Array],
    labels: Array | None,
    metric: str,
) -> Subject:
    """Shuffles rows, and divides them into those for ranges, for searches, and for the verdict."""
    n = len(next(iter(arrays.values())))
    order = np.random.default_rng(0).permutation(n)
    ends = [0, FITTING, FITTING + min(SELECTION, n // 3), n]
    parts = []
    for title, start, end in zip(("fit", "select", "test"), ends, ends[1:]):
        index = order[start:end]
        held = None if labels is None else labels[index]
        chosen = {key: values[index] for key, values in arrays.items()}
        parts.append(rows_in(WORK / name / title, chosen, held))
    fit, select, test = parts
    return Subject(name, model, FittingData(fit), select, test, metric, {"": fit}, serving=SERVING)


def _load(path: Path, name: str, task: str = "") -> Model:
    return load_model(ModelSection(str(path), task=task), WORK / name / "model")


def magika() -> Subject:
    from benchmarks.comparison import Lines
    from jettison.demo import write_inputs

    configuration = write_inputs(WORK / "magika/inputs", Lines())
    model = load_model(configuration.model, WORK / "magika/model")
    with np.load(configuration.data.source, allow_pickle=False) as stored:
        x, names = stored["bytes"], stored["label"]
    places = {label: place for place, label in enumerate(model.encoder.labels)}
    known = np.array([places.get(str(name), -1) for name in names])
    kept = known >= 0
    return divided("magika", model, {"bytes": x[kept]}, known[kept], "accuracy")


def mnist() -> Subject:
    from benchmarks.cpu.nets import DATA

    model = _load(DATA / "models/mnist-cnn-cntk.onnx", "mnist-cnn")
    with np.load(DATA / "vision/mnist.npz") as stored:
        x, y = stored["x_test"], stored["y_test"]
    arrays = {model.inputs[0].name: x[:, None].astype(np.float32)}
    return divided("mnist-cnn", model, arrays, y.astype(np.int64), "accuracy")


def _cifar(name: str, net: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Subject:
    from PIL import Image

    from benchmarks.cpu import nets

    path = WORK / name / f"{name}.onnx"
    nets.export(getattr(nets, net)(), (3, 32, 32), path)
    with np.load(nets.DATA / "vision/cifar10-jpeg-test.npz") as stored:
        data, ends, y = stored["jpeg"].tobytes(), stored["offsets"], stored["y"]
    pixels = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(data[a:b])).convert("RGB"))
            for a, b in itertools.pairwise(ends)
        ]
    )
    x = ((pixels / 255.0 - np.array(mean)) / np.array(std)).astype(np.float32)
    arrays = {"input": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    model = _load(path, name, "classification")
    found = divided(name, model, arrays, y.astype(np.int64), "accuracy")
    return dataclasses.replace(found, net=net)


def resnet20() -> Subject:
    return _cifar("resnet20", "resnet20", (0.5,) * 3, (0.5,) * 3)


def resnet56() -> Subject:
    return _cifar("resnet56", "resnet56", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


WORDS = 3
FRAMES = 256
"""A string of three digits and silence, filled up with silence."""


def fsdd() -> Subject:
    """Strings of three spoken digits, of the 300 clips that training did not see."""
    from benchmarks.cpu.nets import DATA
    from benchmarks.cpu.speech import strings

    model = _load(DATA / "speech/fsdd-digits-ctc.onnx", "fsdd-ctc", "embedding")
    x, y = strings(DATA / "speech/fsdd.npz", 2600, WORDS, FRAMES)
    found = divided("fsdd-ctc", model, {"logmel": x}, y, "words")
    return dataclasses.replace(found, net="fsdd")


def adult() -> Subject:
    """Gradient boosting fitted on the training file; the test file has the rows."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from skops.io import dump

    from benchmarks.adult import NUMBERS, WORDS, table

    # skl2onnx writes `_` for `-`; so everybody reads the same names.
    train, test = (
        table(f"adult-{part}.csv.gz").rename(columns=lambda name: name.replace("-", "_"))
        for part in ("train", "test")
    )
    words, numbers = ([name.replace("-", "_") for name in names] for names in (WORDS, NUMBERS))
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
        remainder="passthrough",
    )
    pipeline = make_pipeline(encode, GradientBoostingClassifier(random_state=0))
    pipeline.fit(train[words + numbers], train["income"])
    path = WORK / "adult-boosting/boosting.skops"
    path.parent.mkdir(parents=True, exist_ok=True)
    dump(pipeline, path)
    model = _load(path, "adult-boosting")
    arrays = {name: test[name].to_numpy(str)[:, None] for name in words}
    arrays |= {name: test[name].to_numpy(float)[:, None] for name in numbers}
    found = divided("adult-boosting", model, arrays, test["income"].to_numpy(str), "accuracy")
    return dataclasses.replace(found, runtime="scikit_learn")


def minilm() -> Subject:
    """Joined AG News sentences of exactly 16, 64 or 128 tokens; verdicts at 64."""
    from tokenizers import Tokenizer

    from benchmarks.minilm import DATA
    from benchmarks.minilm import minilm as installed

    folder = WORK / "minilm"
    section = ModelSection(str(installed()), task="embedding", max_length=128)
    source = load_model(section, folder / "hf")
    write_atomically(folder / "source.json", to_json(source))
    tokenizer = Tokenizer.from_file(str(installed() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with gzip.open(DATA / "text/ag-news-test.csv.gz", "rt", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    column = "description" if "description" in table[0] else list(table[0])[-1]

    def joined(texts: int, tokens: int) -> list[list[int]]:
        rows = [
            " ".join(r[column] for r in table[i : i + texts]) for i in range(0, len(table), texts)
        ]
        return [e.ids for e in tokenizer.encode_batch(rows) if len(e.ids) >= tokens]

    names = tuple(spec.name for spec in source.inputs)
    timed = {}
    for length in (16, 64, 128):
        part = _tokens(joined(5, 128)[:FEW], length, names)
        timed[f"{length} tokens"] = rows_in(folder / f"timed-{length}", part)
    found = divided("minilm", source, _tokens(joined(3, 64), 64, names), None, "cosine")
    recipe = Recipe((Step("export_onnx"),), Step("onnx_runtime"))
    made = apply(source, recipe, found.fitting, folder / "exported", SERVING)
    return dataclasses.replace(found, model=made.model, timed=timed, net="minilm")


def _tokens(ids: list[list[int]], length: int, names: tuple[str, ...]) -> dict[str, Array]:
    """Cut to `length` tokens, with the closing token at the end as the tokenizer would cut."""
    cut = np.array([[*e[: length - 1], e[-1]] for e in ids], dtype=np.int64)
    arrays = {"input_ids": cut, "attention_mask": np.ones_like(cut), "token_type_ids": cut * 0}
    return {name: arrays[name] for name in names}


def sst2() -> Subject:
    """MiniLM with a head for SST-2; sentences of dev and test, filled up to 32 tokens."""
    import subprocess
    import sys

    folder = WORK / "minilm-sst2"
    place = folder / "head"
    if not (place / "sst2.onnx").exists():
        subprocess.run([sys.executable, "-m", "benchmarks.fit_sst2_head", str(place)], check=True)
    section = ModelSection(str(place / "sst2.onnx"), task="classification", max_length=32)
    model = load_model(section, folder / "model")
    texts, labels = [], []
    for part in ("dev", "test"):
        with open(place / f"sst2-{part}.csv", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                texts.append(row["sentence"])
                labels.append(row["label"] == "positive")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    tokenizer.enable_truncation(32)
    tokenizer.enable_padding(length=32, pad_token="[PAD]")
    coded = tokenizer.encode_batch(texts)
    arrays = {
        "input_ids": np.array([e.ids for e in coded]),
        "attention_mask": np.array([e.attention_mask for e in coded]),
        "token_type_ids": np.array([e.type_ids for e in coded]),
    }
    arrays = {spec.name: arrays[spec.name] for spec in model.inputs}
    return divided("minilm-sst2", model, arrays, np.array(labels).astype(np.int64), "accuracy")


def _speed_only(name: str, net: str) -> Subject:
    from benchmarks.cpu import nets

    path = WORK / name / f"{name}.onnx"
    nets.export(getattr(nets, net)(), (3, 224, 224), path)
    model = _load(path, name, "classification")
    x = np.random.default_rng(0).standard_normal((FEW, 3, 224, 224)).astype(np.float32)
    return dataclasses.replace(_timed_only(name, model, {"input": x}), net=net)


def _timed_only(name: str, model: Model, arrays: Mapping[str, Array]) -> Subject:
    rows: Rows = rows_in(WORK / name / "rows", arrays)
    return Subject(name, model, FittingData(rows), rows, rows, "", {"": rows}, serving=SERVING)


def silero() -> Subject:
    """Silero's detector of speech with the rows first (`benchmarks/cpu/silero.py`)."""
    from benchmarks.cpu.silero import rows_first

    path = WORK / "silero-vad/silero.onnx"
    rows_first(path)
    model = _load(path, "silero-vad", "regression")
    random = np.random.default_rng(0)
    arrays = {
        spec.name: random.standard_normal((FEW, *_sizes(spec.shape[1:]))).astype(np.float32) * 0.1
        for spec in model.inputs
    }
    return _timed_only("silero-vad", model, arrays)


def _sizes(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else 576 for size in shape)


SUBJECTS: Mapping[str, Callable[[], Subject]] = {
    "resnet20": resnet20,
    "magika": magika,
    "minilm": minilm,
    "mnist-cnn": mnist,
    "fsdd-ctc": fsdd,
    "resnet56": resnet56,
    "minilm-sst2": sst2,
    "adult-boosting": adult,
    "efficientnet-lite0": lambda: _speed_only("efficientnet-lite0", "lite0"),
    "mobilenet-v2": lambda: _speed_only("mobilenet-v2", "mobilenet"),
    "resnet-50": lambda: _speed_only("resnet-50", "resnet50"),
    "silero-vad": silero,
}
