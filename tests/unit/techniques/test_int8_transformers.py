"""Int8 on transformers: exported and fused graphs, and what sparing sensitive layers brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded, Example, Source
from jettison.domain.model import Model
from jettison.domain.rows import Array, Rows
from jettison.domain.splits import FittingData
from jettison.techniques.activation_smoothing import ActivationSmoothing
from jettison.techniques.int8_dynamic import Int8Dynamic
from jettison.techniques.int8_static import Int8Static
from jettison.worker.workbench import Bench

pytest.importorskip("torch")
pytest.importorskip("transformers")

WriteRows = Callable[[Encoded, Path], Rows]


def bench(folder: Path) -> Bench:
    folder.mkdir(parents=True)
    cache = folder.parent / "cache"
    cache.mkdir(exist_ok=True)
    return Bench(folder, cache, machine.describe_device(), ServingProfile())


def fused(model: Model, fitting: FittingData, root: Path) -> tuple[Model, Model]:
    """The exported graph and the fused one."""
    exported = registry.get("techniques", "export_onnx").apply(
        model, {}, fitting, bench(root / "exported")
    )
    joined = registry.get("techniques", "transformer_fusion").apply(
        exported.model, {}, fitting, bench(root / "fused")
    )
    return exported.model, joined.model


def answers(model: Model, rows: Rows, bench_: Bench) -> Array:
    runner = bench_.runner(model)
    return np.concatenate([runner.run(batch)[model.prediction] for batch in rows.batches(1)])


def cosines(found: Array, expected: Array) -> Array:
    sizes = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    result: Array = (found * expected).sum(axis=1) / sizes
    return result


@pytest.fixture(scope="module")
def tiny(
    tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows
) -> tuple[Model, Model, FittingData]:
    root = tmp_path_factory.mktemp("tiny")
    model = registry.get("loaders", "huggingface").load(Source(str(tiny_classifier)), root / "in")
    made = registry.get("encoders", "tokenizer").made_up(model.encoder, model, 12, seed=0)
    fitting = FittingData(write_rows(made, root / "rows"))
    return (*fused(model, fitting, root), fitting)


@pytest.mark.parametrize(
    ("technique", "place", "told"),
    [
        (Int8Dynamic(), 0, "3 of 3 Gather and 14 of 14 MatMul"),
        (Int8Dynamic(), 1, "2 of 2 Attention, 1 of 1 EmbedLayerNormalization and 8 of 8 MatMul"),
        (Int8Static(), 0, "3 of 3 Gather, 2 of 2 Gemm and 12 of 12 MatMul"),
        (Int8Static(), 1, "2 of 2 Gemm and 6 of 6 MatMul"),
    ],
)
def test_every_product_of_a_transformer(
    technique: Any, place: int, told: str, tiny: Any, tmp_path: Path
) -> None:
    """All products with weights are quantized, in exported and in fused graphs."""
    model, fitting = tiny[place], tiny[2]
    applied = technique.apply(model, {"exclude_layers": 0}, fitting, bench(tmp_path / "out"))
    assert applied.changes[0].what.startswith(told), applied.changes[0].what
    expected = answers(model, fitting.rows, bench(tmp_path / "before"))
    found = answers(applied.model, fitting.rows, bench(tmp_path / "after"))
    assert cosines(found, expected).mean() > 0.9


@pytest.mark.slow
def test_sparing_the_most_sensitive_layers_of_minilm(
    minilm: Path, shared_data: Path, tmp_path: Path, write_rows: WriteRows
) -> None:
    """The first layer found is the one known to matter; sparing three lifts the cosine."""
    import gzip

    with gzip.open(shared_data / "text" / "sst2-dev.tsv.gz", "rt") as file:
        texts = [max(line.split("\t"), key=len) for line in file][1:97]
    model = registry.get("loaders", "huggingface").load(Source(str(minilm)), tmp_path / "in")
    kind = registry.get("encoders", "tokenizer")
    encoder = kind.bind(model.encoder, model, ("text",))
    encoded = kind.encode(encoder, model, Example({"text": np.array(texts)}, len(texts)))
    rows = write_rows(encoded, tmp_path / "rows")
    fitting = FittingData(rows)
    graph = fused(model, fitting, tmp_path)[1]
    expected = answers(graph, rows, bench(tmp_path / "before"))
    found = {}
    for count in (0, 3):
        settings = {"exclude_layers": count, "reduce_range": True}
        applied = Int8Dynamic().apply(graph, settings, fitting, bench(tmp_path / str(count)))
        after = answers(applied.model, rows, bench(tmp_path / f"after{count}"))
        found[count] = cosines(after, expected)
        assert applied.model.artifact.size_bytes < graph.artifact.size_bytes / 2.9
    assert found[0].mean() > 0.98
    assert 1 - found[3].mean() < 0.8 * (1 - found[0].mean())
    order = next((tmp_path / "cache").glob("sensitivity-*")).read_text()
    assert '"/backbone/encoder/layer.0/output/dense/MatMul"' in order.split("distance")[0]


@pytest.mark.parametrize("place", [0, 1], ids=["exported", "fused"])
def test_smoothing_passes_fusion(
    place: int, tiny: tuple[Model, Model, FittingData], tmp_path: Path
) -> None:
    """Before and after attention is fused, smoothing keeps the answers and int8 follows."""
    model, fitting = (tiny[0], tiny[1])[place], tiny[2]
    settings = {"strength": "given", "alpha": 0.6}
    even = ActivationSmoothing().apply(model, settings, fitting, bench(tmp_path / "even"))
    here = bench(tmp_path / "here")
    expected = answers(model, fitting.rows, here)
    found = answers(even.model, fitting.rows, here)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    done = Int8Dynamic().apply(even.model, {}, fitting, bench(tmp_path / "int8"))
    assert done.changes[0].operators >= 6
    assert cosines(answers(done.model, fitting.rows, here), expected).min() > 0.95
