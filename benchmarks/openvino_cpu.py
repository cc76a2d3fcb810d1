"""ONNX Runtime and OpenVINO beside each other, in float and in int8: time and quality, 1 thread.

The margins stand here before the first run. Quality is read on rows that nothing was fitted on;
its difference to the float original is paired, row by row. Magika reads files of this Python
installation, MiniLM joined AG News sentences of exactly 16, 64 or 128 tokens, ResNet-20 and the
MNIST network test images (CIFAR-10 as JPEG).

    python -m benchmarks.openvino_cpu [model ...]
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import Lines
from benchmarks.minilm import DATA, minilm
from benchmarks.results_file import RESULTS, Row, write
from jettison.demo import write_inputs
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL
from jettison.domain.model import Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.pipeline import measure
from jettison.pipeline.apply import apply
from jettison.pipeline.load import load_model

WORK = Path(".bench/openvino").absolute()
MARGINS = {"magika": 0.01, "minilm": 0.01, "resnet20": 0.01, "mnist-cnn": 0.01}
"""Accuracy, or mean cosine to the original, that may be lost."""

FITTING, TESTED = 300, 2000
OPSET = 17

NNCF_DEFAULT = {"half_range": "first", "rows": 300, "bias_correction": "fast"}
"""What `nncf.quantize` does when nothing is said; for transformers as its guide asks
(`model_type`), which is what `nncf_int8` does by itself."""

INT8 = {
    "minilm": (Step("transformer_fusion"), Step("int8_dynamic")),
    "": (Step("int8_static"),),
}
"""What jettison tries first on ONNX Runtime: by model, or for all others."""


@dataclass(frozen=True)
class Subject:
    """A model with rows.

    Attributes:
        title: for the rows of the result.
        model: as ONNX, in float.
        fitting: rows for ranges; tested: rows for quality, with their labels or `None`.
        serving: batch sizes.
    """

    title: str
    model: Model
    fitting: FittingData
    tested: Rows
    labels: Array | None
    serving: ServingProfile


def rows_in(folder: Path, arrays: Mapping[str, Array]) -> Rows:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    n = len(next(iter(arrays.values())))
    return Rows(str(folder), tuple(arrays), n, digest=f"{folder.name}-{n}")


def images(name: str, model: Model, x: Array, y: Array, serving: ServingProfile) -> Subject:
    order = np.random.default_rng(0).permutation(len(x))
    fit, test = order[:FITTING], order[FITTING : FITTING + TESTED]
    key = model.inputs[0].name
    fitting = FittingData(rows_in(WORK / f"{name}-fit", {key: x[fit]}))
    return Subject(
        name, model, fitting, rows_in(WORK / f"{name}-test", {key: x[test]}), y[test], serving
    )


def magika() -> list[Subject]:
    configuration = write_inputs(WORK / "magika-inputs", Lines())
    model = load_model(configuration.model, WORK / "magika")
    with np.load(configuration.data.source, allow_pickle=False) as stored:
        x, names = stored["bytes"], stored["label"]
    places = {label: place for place, label in enumerate(model.encoder.labels)}
    known = np.array([places.get(str(name), -1) for name in names])
    kept = known >= 0
    return [images("magika", model, x[kept], known[kept], ServingProfile())]


def mnist() -> list[Subject]:
    model = load_model(ModelSection(str(DATA / "models/mnist-cnn-cntk.onnx")), WORK / "mnist")
    with np.load(DATA / "vision/mnist.npz") as stored:
        x, y = stored["x_test"], stored["y_test"]
    x = x[:, None].astype(np.float32)
    return [images("mnist-cnn", model, x, y.astype(np.int64), ServingProfile())]


def resnet20() -> list[Subject]:
    import torch
    from PIL import Image
    from safetensors.torch import load_file

    from examples.cifar_resnet import resnet20 as build

    module = build().eval()
    module.load_state_dict(load_file(str(DATA / "models/resnet20-cifar10-chita.safetensors")))
    path = WORK / "resnet20.onnx"
    torch.onnx.export(
        module,
        (torch.zeros(1, 3, 32, 32),),
        str(path),
        input_names=["image"],
        output_names=["scores"],
        dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    with np.load(DATA / "vision/cifar10-jpeg-test.npz") as stored:
        data, ends, y = stored["jpeg"].tobytes(), stored["offsets"], stored["y"]
    few = np.random.default_rng(0).permutation(len(y))[: FITTING + TESTED]
    pixels = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(data[ends[i] : ends[i + 1]])).convert("RGB"))
            for i in few
        ]
    )
    x = ((pixels.transpose(0, 3, 1, 2) / 255.0 - 0.5) / 0.5).astype(np.float32)
    model = load_model(ModelSection(str(path), task="classification"), WORK / "resnet20")
    serving = ServingProfile((1, 32), (0.5, 0.5))
    return [images("resnet20", model, x, y[few].astype(np.int64), serving)]


def sentences() -> list[Subject]:
    from tokenizers import Tokenizer

    source = load_model(ModelSection(str(minilm()), task="embedding", max_length=128), WORK / "hf")
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with gzip.open(DATA / "text/ag-news-test.csv.gz", "rt", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    column = "description" if "description" in table[0] else list(table[0])[-1]
    texts = [" ".join(r[column] for r in table[i : i + 5]) for i in range(0, 4000, 5)]
    # With the closing token at the end, as the tokenizer would cut.
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    ids = [e for e in ids if len(e) >= 128]
    model, subjects = None, []
    for length in (16, 64, 128):
        cut = np.array([[*e[: length - 1], e[-1]] for e in ids], dtype=np.int64)
        arrays = {"input_ids": cut, "attention_mask": np.ones_like(cut), "token_type_ids": cut * 0}
        arrays = {spec.name: arrays[spec.name] for spec in source.inputs}
        fit = rows_in(WORK / f"minilm-fit-{length}", {k: v[:FITTING] for k, v in arrays.items()})
        test = rows_in(WORK / f"minilm-test-{length}", {k: v[FITTING:] for k, v in arrays.items()})
        serving = ServingProfile((1, 32), (0.5, 0.5))
        if model is None:
            recipe = Recipe((Step("export_onnx"),), Step("onnx_runtime"))
            model = apply(source, recipe, FittingData(fit), WORK / "exported", serving).model
        subjects.append(
            Subject(f"minilm, {length} tokens", model, FittingData(fit), test, None, serving)
        )
    return subjects


SUBJECTS: Mapping[str, Callable[[], list[Subject]]] = {
    "magika": magika,
    "mnist-cnn": mnist,
    "resnet20": resnet20,
    "minilm": sentences,
}


def variants(subject: Subject, kind: str) -> tuple[dict[str, Variant], list[Row]]:
    """Builds every variant; one that fails is a row that says why."""
    convert = Step("convert_openvino")
    wanted = {
        "onnxruntime int8, jettison's first try": (INT8.get(kind, INT8[""]), "onnx_runtime"),
        "openvino float": ((convert,), "openvino"),
        "openvino int8, NNCF default": ((convert, Step("nncf_int8", NNCF_DEFAULT)), "openvino"),
        "openvino int8, jettison's first try": ((convert, Step("nncf_int8")), "openvino"),
        "openvino weights in 8 bits": ((convert, Step("nncf_weight_only")), "openvino"),
    }
    found = {"onnxruntime float": Variant("", subject.model, Step("onnx_runtime"))}
    failed = []
    for name, (steps, runtime) in wanted.items():
        try:
            made = apply(
                subject.model,
                Recipe(steps, Step(runtime)),
                subject.fitting,
                WORK / "artifacts",
                subject.serving,
            )
            print("  ", name, *(change.what for change in made.log), flush=True)
            alone = "batch-dependent" in made.model.traits
            found[name] = Variant("", made.model, Step(runtime), alone)
        except CandidateFailed as failure:
            print("  ", name, "failed:", failure, flush=True)
            failed.append(
                Row(subject.title, name, "built", None, None, None, "", 0, str(failure)[:300])
            )
    return {n: dataclasses.replace(v, name=n) for n, v in found.items()}, failed


def quality(subject: Subject, found: Mapping[str, Variant], margin: float) -> list[Row]:
    """Accuracy or cosine of each variant, and what it lost, with 95 % intervals over rows."""
    rows, reference = [], None
    folder = WORK / "scores"
    shutil.rmtree(folder, ignore_errors=True)
    with measure.Sessions(subject.tested, subject.serving, folder) as workers:
        for place, (name, variant) in enumerate(found.items()):
            outputs = measure.score_rows(variant, subject.tested, workers, folder / str(place))
            workers.end(variant)
            answer = np.asarray(outputs[variant.model.prediction], dtype=np.float64)
            reference = answer if reference is None else reference
            if subject.labels is None:
                size = np.linalg.norm(answer, axis=1) * np.linalg.norm(reference, axis=1)
                good = (answer * reference).sum(axis=1) / size
                lost, metric = 1.0 - good, "cosine to the original"
            else:
                good = (answer.argmax(axis=1) == subject.labels).astype(float)
                lost = (reference.argmax(axis=1) == subject.labels) - good
                metric = "accuracy"
            n = len(good)
            half = 1.96 * float(lost.std(ddof=1)) / math.sqrt(n)
            mean = float(lost.mean())
            said = "within" if mean + half <= margin else "not shown within"
            rows.append(Row(subject.title, name, metric, float(good.mean()), None, None, "", n))
            rows.append(
                Row(
                    subject.title,
                    name,
                    f"lost {metric}",
                    mean,
                    mean - half,
                    mean + half,
                    "",
                    n,
                    f"{said} the margin of {margin:g}",
                )
            )
            print(f"{subject.title:20} {name:40} lost {mean:.4f} +- {half:.4f}", flush=True)
    return rows


def costs(subject: Subject, found: Mapping[str, Variant]) -> list[Row]:
    folder = WORK / "claims"
    result = measure.claim_costs(
        tuple(found.values()),
        subject.fitting.rows,
        subject.serving,
        ("latency_ms", "size_bytes", "peak_memory_bytes"),
        measure.ClaimPlan(max_seconds=240.0),
        folder,
    )
    rows = []
    for name, measurement in result.measurements.items():
        for e in measurement.estimates:
            metric = e.metric if e.group == OVERALL else f"{e.metric} {e.group}"
            note = "noisy" if e.state == "noisy" else ""
            rows.append(Row(subject.title, name, metric, e.value, e.low, e.high, e.unit, e.n, note))
            if metric == "latency_ms":
                print(f"{subject.title:20} {name:40} {e.value:.3f} ms {note}", flush=True)
    floor = result.noise_floor
    rows.append(Row(subject.title, "a/a", "noise floor", floor, None, None, "fraction", 5))
    return rows


def main(kinds: list[str]) -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    rows: list[Any] = []
    for kind in kinds or list(SUBJECTS):
        for subject in SUBJECTS[kind]():
            print(subject.title, flush=True)
            found, failed = variants(subject, kind)
            rows += [*failed, *quality(subject, found, MARGINS[kind]), *costs(subject, found)]
            # What was measured is kept if a later model fails.
            write(
                "openvino_cpu", rows, [f"Margins: {MARGINS}; 1 thread; stored in {RESULTS.name}."]
            )


if __name__ == "__main__":
    main(sys.argv[1:])
