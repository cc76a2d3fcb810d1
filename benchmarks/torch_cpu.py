"""What 8 and 4 bits and compiling bring to a model that stays in PyTorch, beside ONNX Runtime.

    python -m benchmarks.torch_cpu build            # makes every variant, reads its quality
    python -m benchmarks.torch_cpu time resnet20    # one launch of all variants; on a quiet machine
    python -m benchmarks.torch_cpu report           # writes the result from the launches there are

One thread. A launch starts a worker for each variant; they take turns in random order, and a number
is the median of its turns. Intervals are over launches (Student's t). ResNet-20 reads CIFAR-10 test
images (accuracy), MiniLM AG News sentences of 64 tokens (cosine to the original).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import random
import shutil
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.minilm import DATA, minilm
from benchmarks.results_file import Row, write
from jettison.domain.configuration import ImageSection, ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import SessionJob, Variant
from jettison.domain.model import Model
from jettison.domain.recipe import Recipe, Step
from jettison.domain.record import from_json, to_json
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.pipeline.apply import apply
from jettison.pipeline.load import load_model
from jettison.worker_client import WorkerSession

WORK = Path(".bench/torch_cpu").absolute()
SERVING = ServingProfile((1, 32), (0.5, 0.5))
TURNS = {1: (8, 5), 32: (3, 1)}
"""Batch size -> turns of a variant, and timed calls in a turn."""

LENGTH = 64
FITTING, TESTED, SENTENCES = 100, 2000, 500
EXPORT = Step("export_onnx")
RECIPES = {
    "torch eager float": ((), "torch_eager"),
    "torch.compile float": ((), "torch_compile"),
    "torch FX static int8": ((Step("torch_fx_int8"),), "torch_eager"),
    "torch dynamic int8": ((Step("torch_dynamic_int8"),), "torch_eager"),
    "torchao PT2E int8, compiled": ((Step("pt2e_int8"),), "torch_compile"),
    "torchao int8 weights": ((Step("torchao_weight_only"),), "torch_eager"),
    "torchao int4 weights": ((Step("torchao_weight_only", {"mode": "int4_32"}),), "torch_eager"),
    "onnxruntime float": ((EXPORT,), "onnx_runtime"),
    "onnxruntime int8 weights": ((EXPORT, Step("matmul_nbits")), "onnx_runtime"),
    "onnxruntime int4 weights": (
        (EXPORT, Step("matmul_nbits", {"bits": 4, "accuracy_level": 4})),
        "onnx_runtime",
    ),
}


def rows_in(folder: Path, arrays: Mapping[str, Any]) -> Rows:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    n = len(next(iter(arrays.values())))
    return Rows(str(folder), tuple(arrays), n, digest=f"{folder.name}-{n}")


def resnet20() -> tuple[Model, FittingData, Rows, Any]:
    from PIL import Image

    with np.load(DATA / "vision/cifar10-jpeg-test.npz") as stored:
        jpeg, ends, y = stored["jpeg"].tobytes(), stored["offsets"], stored["y"]
    few = np.random.default_rng(0).permutation(len(y))[: FITTING + TESTED]
    pixels = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(jpeg[ends[i] : ends[i + 1]])).convert("RGB"))
            for i in few
        ]
    )
    x = ((pixels.transpose(0, 3, 1, 2) / 255.0 - 0.5) / 0.5).astype(np.float32)
    model = load_model(
        ModelSection(
            "examples/cifar_resnet.py:resnet20",
            weights=str(DATA / "models/resnet20-cifar10-chita.safetensors"),
            inputs=("image: float32[batch, 3, 32, 32]",),
        ),
        WORK / "resnet20-model",
        tables={"image": ImageSection()},
    )
    fit = FittingData(rows_in(WORK / "resnet20-fit", {"image": x[:FITTING]}))
    return model, fit, rows_in(WORK / "resnet20-test", {"image": x[FITTING:]}), y[few[FITTING:]]


def sentences() -> tuple[Model, FittingData, Rows, Any]:
    from tokenizers import Tokenizer

    model = load_model(
        ModelSection(str(minilm()), task="embedding", max_length=128), WORK / "minilm-model"
    )
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with gzip.open(DATA / "text/ag-news-test.csv.gz", "rt", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    column = "description" if "description" in table[0] else list(table[0])[-1]
    texts = [" ".join(r[column] for r in table[i : i + 3]) for i in range(0, 3000, 3)]
    ids = [e.ids for e in tokenizer.encode_batch(texts) if len(e.ids) >= LENGTH][:SENTENCES]
    cut = np.array([[*e[: LENGTH - 1], e[-1]] for e in ids], dtype=np.int64)
    arrays = {"input_ids": cut, "attention_mask": np.ones_like(cut), "token_type_ids": cut * 0}
    arrays = {spec.name: arrays[spec.name] for spec in model.inputs}
    fit, test = (
        rows_in(WORK / f"minilm-{name}", {k: v[part] for k, v in arrays.items()})
        for name, part in (("fit", slice(0, FITTING)), ("test", slice(FITTING, None)))
    )
    return model, FittingData(fit), test, None


SUBJECTS = {"resnet20": resnet20, "minilm": sentences}


def build(kinds: list[str]) -> None:
    for kind in kinds or list(SUBJECTS):
        model, fitting, tested, labels = SUBJECTS[kind]()
        variants: dict[str, Any] = {}
        failed: dict[str, str] = {}
        reference = None
        quality: dict[str, list[float]] = {}
        for name, (steps, runtime) in RECIPES.items():
            try:
                made = apply(
                    model, Recipe(steps, Step(runtime)), fitting, WORK / "artifacts", SERVING
                )
                variant = Variant(name, made.model, Step(runtime))
                answer = scored(variant, tested, kind)
            except CandidateFailed as failure:
                failed[name] = str(failure)[:300]
                print("  ", name, "failed:", failure, flush=True)
                continue
            reference = answer if reference is None else reference
            quality[name] = lost(answer, reference, labels)
            variants[name] = json.loads(to_json(variant))
            print("  ", name, quality[name], *(c.what for c in made.log), flush=True)
        content = {
            "variants": variants,
            "failed": failed,
            "quality": quality,
            "rows": json.loads(to_json(fitting.rows)),
        }
        (WORK / f"{kind}.json").write_text(json.dumps(content))


def scored(variant: Variant, tested: Rows, kind: str) -> Any:
    job = SessionJob(variant.model, variant.runtime, tested, SERVING)
    place = WORK / "scores" / kind / variant.name.replace(" ", "-")
    shutil.rmtree(place, ignore_errors=True)
    with WorkerSession(job, WORK / "workers") as session:
        found = session.score(tested, place, 32)
    return np.load(found.file(variant.model.prediction)).astype(np.float64)


def lost(answer: Any, reference: Any, labels: Any) -> list[float]:
    """Mean loss against the original, half of its 95 % interval, and the number of rows."""
    if labels is None:
        size = np.linalg.norm(answer, axis=1) * np.linalg.norm(reference, axis=1)
        parts = 1.0 - (answer * reference).sum(axis=1) / size
    else:
        parts = (reference.argmax(1) == labels) * 1.0 - (answer.argmax(1) == labels)
    n = len(parts)
    return [float(parts.mean()), 1.96 * float(parts.std(ddof=1)) / math.sqrt(n), n]


def time(kind: str) -> None:
    """One launch; its medians in milliseconds are added to the file of launches."""
    content = json.loads((WORK / f"{kind}.json").read_text())
    rows = from_json(Rows, json.dumps(content["rows"]))
    seconds: dict[str, dict[int, list[float]]] = {}
    sessions: dict[str, WorkerSession] = {}
    try:
        for name, stored in content["variants"].items():
            variant = from_json(Variant, json.dumps(stored))
            job = SessionJob(variant.model, variant.runtime, rows, SERVING)
            sessions[name] = WorkerSession(job, WORK / "workers")
            seconds[name] = {size: [] for size in TURNS}
        for size, (turns, calls) in TURNS.items():
            for _ in range(turns):
                for name in random.sample(list(sessions), len(sessions)):
                    seconds[name][size] += sessions[name].burst(size, calls).seconds
        launch = {
            name: {
                "load_s": session.ready.load_seconds,
                **{f"b{s}": 1e3 * statistics.median(seconds[name][s]) for s in TURNS},
            }
            for name, session in sessions.items()
        }
    finally:
        for session in sessions.values():
            session.close()
    path = WORK / f"{kind}-launches.json"
    launches = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*launches, launch]))
    print(json.dumps(launch, indent=1))


def report() -> None:
    rows: list[Row] = []
    for kind in SUBJECTS:
        if not (WORK / f"{kind}-launches.json").exists():
            continue
        content = json.loads((WORK / f"{kind}.json").read_text())
        launches = json.loads((WORK / f"{kind}-launches.json").read_text())
        metric = "lost accuracy" if kind == "resnet20" else "lost cosine"
        for name, stored in content["variants"].items():
            for key, told, unit in (
                ("b1", "latency, batch 1", "ms a call"),
                ("b32", "latency, batch 32", "ms a call"),
                ("load_s", "load", "s"),
            ):
                value, low, high = interval([launch[name][key] for launch in launches])
                rows.append(Row(kind, name, told, value, low, high, unit, len(launches)))
            mean, half, n = content["quality"][name]
            rows.append(Row(kind, name, metric, mean, mean - half, mean + half, "", int(n)))
            size = stored["model"]["artifact"]["size_bytes"]
            rows.append(Row(kind, name, "size", size, None, None, "bytes", 1))
        rows += [
            Row(kind, name, "built", None, None, None, "", 0, why)
            for name, why in content["failed"].items()
        ]
    write(
        "torch_cpu",
        rows,
        [
            "1 thread; latency of one call; load includes compiling. Each technique's first settings."
        ],
    )


def interval(values: list[float]) -> tuple[float, float | None, float | None]:
    """The geometric mean over launches and its 95 % interval; none from a single launch."""
    logs = np.log(values)
    middle = float(logs.mean())
    if len(logs) < 2:
        return math.exp(middle), None, None
    half = float(stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs)))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    command, *rest = sys.argv[1:] or ["build"]
    {"build": lambda: build(rest), "time": lambda: time(rest[0]), "report": report}[command]()
