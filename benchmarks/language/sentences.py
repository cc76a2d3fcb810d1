"""MiniLM on STS-B: through the loader and the registered techniques, scored by Spearman."""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr

from benchmarks.minilm import DATA, minilm
from benchmarks.results_file import Row
from jettison import machine, registry
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.rows import LENGTHS, Rows
from jettison.domain.splits import FittingData
from jettison.metrics.packed_size import CompressedSizeBytes, SparseSizeBytes
from jettison.pipeline.load import load_model
from jettison.worker.workbench import Bench, open_model

MODEL = "all-MiniLM-L6-v2"
CALIBRATED = 256
BATCH = 64
RESAMPLES = 1000
METHODS: dict[str, dict[str, Any]] = {
    "magnitude_pruning": {"budget": "per_layer"},
    "wanda": {},
    "sparsegpt": {},
    "chita": {"budget": "per_layer", "block": 20_000, "stages": 1, "rows": 128},
}
PATTERNS: dict[str, dict[str, Any]] = {
    "50 %": {"sparsity": 0.5},
    "2:4": {"pattern": "2:4"},
}


def rows(skip: Collection[str] = ()) -> Iterator[Row]:
    """One row for each metric of the dense model and of every method and pattern."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = load_model(ModelSection(str(minilm()), task="embedding", max_length=128), folder)
        pairs = _pairs("test")
        fitting = _fitting(model, folder / "rows")
        if "dense" not in skip:
            yield from _scored(model, "dense", pairs, "")
        for name, settings in METHODS.items():
            for pattern, wanted in PATTERNS.items():
                if f"{name}, {pattern}" in skip:
                    continue
                place = folder / f"{name}-{pattern.replace(' ', '').replace(':', 'of')}"
                bench = Bench(place, folder / "cache", machine.describe_device(), ServingProfile())
                technique = registry.get("techniques", name)
                begun = time.monotonic()
                made = technique.apply(model, {**settings, **wanted}, fitting, bench)
                note = f"{time.monotonic() - begun:.0f} s; {made.changes[0].what}"
                yield from _scored(made.model, f"{name}, {pattern}", pairs, note)


def _pairs(part: str) -> tuple[list[str], list[str], Any]:
    with gzip.open(DATA / f"text/stsb-en-{part}.csv.gz", "rt", encoding="utf-8") as source:
        table = list(csv.DictReader(source))
    scores = np.array([float(row["score"]) for row in table])
    return [r["sentence1"] for r in table], [r["sentence2"] for r in table], scores


def _encoded(model: Model, texts: Sequence[str]) -> Any:
    kind = registry.get("encoders", model.encoder.kind)
    encoder = kind.bind(model.encoder, model, ("text",))
    return kind.encode(encoder, model, Example({"text": np.array(texts, dtype=object)}, len(texts)))


def _fitting(model: Model, folder: Path) -> FittingData:
    folder.mkdir(parents=True)
    first, second, _ = _pairs("train")
    texts = list(dict.fromkeys(first + second))
    chosen = np.random.default_rng(0).permutation(len(texts))[:CALIBRATED]
    encoded = _encoded(model, [texts[i] for i in chosen])
    for name, values in encoded.arrays.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
    np.save(folder / f"{LENGTHS}.npy", encoded.lengths, allow_pickle=False)
    names = tuple(spec.name for spec in model.inputs)
    return FittingData(Rows(str(folder), names, CALIBRATED, encoded.pad, "stsb train"), seed=0)


def _embeddings(model: Model, texts: Sequence[str]) -> Any:
    import torch

    module = open_model(model)
    encoded = _encoded(model, texts)
    order = np.argsort(encoded.lengths)
    answers = np.zeros((len(texts), int(model.outputs[0].shape[1])), np.float32)
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        longest = int(encoded.lengths[index].max())
        named = {
            name: torch.from_numpy(np.ascontiguousarray(values[index][:, :longest]))
            for name, values in encoded.arrays.items()
        }
        with torch.inference_mode():
            answers[index] = module(**named).numpy()
    return answers


def _scored(model: Model, method: str, pairs: Any, note: str) -> Iterator[Row]:
    first, second, wanted = pairs
    answers = _embeddings(model, [*first, *second])
    one, two = answers[: len(first)], answers[len(first) :]
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosines = (one * two).sum(1) / norms
    for metric, of in (("spearman", spearmanr), ("pearson", pearsonr)):
        rng = np.random.default_rng(0)
        drawn = [rng.integers(0, len(wanted), len(wanted)) for _ in range(RESAMPLES)]
        spread = [float(of(cosines[i], wanted[i]).statistic) for i in drawn]
        low, high = np.quantile(spread, [0.025, 0.975])
        value = float(of(cosines, wanted).statistic)
        yield Row(MODEL, method, metric, value, float(low), float(high), "", len(wanted), note)
    sizes: dict[str, float] = {"size_bytes": float(model.artifact.size_bytes)}
    for cost in (SparseSizeBytes(), CompressedSizeBytes()):
        sizes[cost.name] = cost.observe(model, None, ServingProfile()).value  # type: ignore[arg-type]
    for name, size in sizes.items():
        yield Row(MODEL, method, name, size, None, None, "bytes", 1)
