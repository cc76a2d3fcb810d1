"""MiniLM all the way: load, encode, run in PyTorch, export, fuse, run in ONNX Runtime."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jettison import registry, worker_client
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded, Example
from jettison.domain.jobs import ApplyAnswer, ApplyJob, LoadJob, SessionJob
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

SENTENCES = 40


def apply(name: str, model: Model, rows: Rows, folder: Path) -> ApplyAnswer:
    job = ApplyJob(
        model=model,
        step=Step(name),
        fitting=FittingData(rows),
        folder=str(folder / name),
        cache=str(folder / "cache"),
        serving=ServingProfile(),
    )
    return worker_client.run_apply(job)


def embeddings(model: Model, rows: Rows, batch_size: int, folder: Path) -> Array:
    runtime = registry.home_runtime(model.traits)
    folder.mkdir(parents=True)
    job = SessionJob(model, Step(runtime.name), rows, ServingProfile())
    with worker_client.WorkerSession(job, folder) as session:
        scored = session.score(rows, folder / "scored", batch_size)
    answers: Array = np.load(Path(scored.folder) / "embedding.npy", allow_pickle=False)
    return answers


def test_same_embeddings_at_every_stage(
    minilm: Path, shared_data: Path, tmp_path: Path, write_rows: Callable[[Encoded, Path], Rows]
) -> None:
    """Real sentences have the same embeddings in PyTorch, in ONNX and in the fused graph.

    Alone, and padded to the longest of a batch; by 2e-6 of a unit vector's components.
    """
    with gzip.open(shared_data / "text" / "sst2-dev.tsv.gz", "rt", encoding="utf-8") as file:
        texts = [line.rsplit("\t", 1)[0] for line in file][:SENTENCES]
    (tmp_path / "model").mkdir()
    job = LoadJob("huggingface", str(minilm), "", {}, str(tmp_path / "model"))
    model = worker_client.run_load(job)
    encoder = registry.get("encoders", "tokenizer")
    bound = encoder.bind(model.encoder, model, ("sentence",))
    model = dataclasses.replace(model, encoder=bound)
    held = {"sentence": np.array(["", *texts, "long " * 400], dtype=object)}
    encoded = encoder.encode(bound, model, Example(held, len(texts) + 2))
    rows = write_rows(encoded, tmp_path / "rows")

    exported = apply("export_onnx", model, rows, tmp_path).model
    fused = apply("transformer_fusion", exported, rows, tmp_path).model
    assert "attention" in exported.traits
    assert "attention" not in fused.traits

    expected = embeddings(model, rows, 1, tmp_path / "torch")
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1.0, atol=1e-5)
    for place, one in enumerate((exported, fused)):
        for size in (1, 8):
            found = embeddings(one, rows, size, tmp_path / f"onnx-{place}-{size}")
            np.testing.assert_allclose(found, expected, atol=2e-6)
