"""Export to ONNX: free dimensions, answers of PyTorch, the same bytes twice, honest refusals."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Encoded, Source
from jettison.domain.model import Model
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed
from jettison.graphs.onnx_graph import traits_of
from jettison.testing import contracts
from jettison.worker.workbench import Bench

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
EXPORT = registry.get("techniques", "export_onnx")

WriteRows = Callable[[Encoded, Path], Rows]


def bench(folder: Path) -> Bench:
    folder.mkdir()
    serving = ServingProfile((1, 5), (0.5, 0.5))
    return Bench(folder, folder.parent / "cache", machine.describe_device(), serving)


def load(folder: Path, target: Path) -> Model:
    return registry.get("loaders", "huggingface").load(Source(str(folder)), target)


@pytest.fixture
def model(tiny_classifier: Path, tmp_path: Path) -> Model:
    return load(tiny_classifier, tmp_path / "loaded")


@pytest.fixture
def fitting(model: Model, tmp_path: Path, write_rows: WriteRows) -> FittingData:
    encoder = registry.get("encoders", "tokenizer")
    made = encoder.made_up(model.encoder, model, 12, seed=0)
    return FittingData(write_rows(made, tmp_path / "rows"))


@pytest.mark.slow
def test_promises(model: Model, fitting: FittingData, tmp_path: Path) -> None:
    """The technique passes the suite of every technique, through worker processes."""
    answer = contracts.check_technique("export_onnx", model, fitting, tmp_path / "contract")
    assert "onnx" in answer.model.traits
    assert "torch" not in answer.model.traits


def test_any_batch_and_length(model: Model, fitting: FittingData, tmp_path: Path) -> None:
    """The graph answers as PyTorch at batch sizes and lengths that it was not traced with."""
    exported = EXPORT.apply(model, {}, fitting, bench(tmp_path / "out")).model
    graph, original = (
        bench(tmp_path / name).runner(m) for name, m in (("a", exported), ("b", model))
    )
    rng = np.random.default_rng(1)
    for rows, length in ((1, 1), (3, 2), (7, 33), (2, 64)):
        ids = rng.integers(4, 40, (rows, length))
        mask = np.ones_like(ids)
        mask[-1, length // 2 + 1 :] = 0
        batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids % 2}
        np.testing.assert_allclose(
            graph.run(batch)["logits"], original.run(batch)["logits"], atol=1e-4
        )


def test_what_is_told(model: Model, fitting: FittingData, tmp_path: Path) -> None:
    """Traits, names, shapes and labels of the result are those of the graph and the model."""
    applied = EXPORT.apply(model, {"opset": 18}, fitting, bench(tmp_path / "out"))
    exported = applied.model
    assert exported.traits == traits_of(exported.artifact.path)
    assert {"matmul", "attention", "float32", "standard-operators"} <= exported.traits
    assert (exported.inputs, exported.outputs) == (model.inputs, model.outputs)
    assert exported.encoder == model.encoder
    graph = onnx.load(str(exported.artifact.path))
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version == 18
    told = applied.changes[0]
    assert told.operators == len(graph.graph.node)
    assert told.weights == sum(int(np.prod(t.dims)) for t in graph.graph.initializer)
    assert "batch 1, 2, 5" in told.what


def test_weights_keep_their_names(model: Model, fitting: FittingData, tmp_path: Path) -> None:
    """Each weight bears its name in the module, and no two different ones were merged."""
    exported = EXPORT.apply(model, {}, fitting, bench(tmp_path / "out")).model
    graph = onnx.load(str(exported.artifact.path))
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
    module = registry.get("formats", model.artifact.format).open(model.artifact)
    named = dict(module.named_parameters())
    assert set(named) == set(stored)
    for name, values in stored.items():
        expected = named[name].detach().numpy()
        # A product with a matrix of rows (pooler, classifier) is a Gemm, which transposes itself.
        turned = expected.T if ".layer." in name and expected.ndim == 2 else expected
        np.testing.assert_array_equal(values, turned, err_msg=name)


def test_large_models_lie_beside_the_graph(
    model: Model, fitting: FittingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit for one file the weights go to the data file; the answers are the same."""
    from jettison.graphs import torch_export

    small = EXPORT.apply(model, {}, fitting, bench(tmp_path / "small")).model
    monkeypatch.setattr(torch_export, "INLINE_LIMIT", 1000)
    large = EXPORT.apply(model, {}, fitting, bench(tmp_path / "large")).model
    assert large.artifact.files == ("model.onnx", "model.onnx.data")
    assert sorted(p.name for p in (tmp_path / "large").iterdir()) == sorted(large.artifact.files)
    batch = fitting.rows.batch(slice(0, 3))
    np.testing.assert_array_equal(
        bench(tmp_path / "a").runner(small).run(batch)["logits"],
        bench(tmp_path / "b").runner(large).run(batch)["logits"],
    )


@pytest.mark.parametrize("name", ["DistilBert", "Roberta", "Electra", "DebertaV2"])
def test_other_encoders(
    name: str, tiny_classifier: Path, tmp_path: Path, write_rows: WriteRows
) -> None:
    """Other encoders load, export and answer the same, with or without segment ids."""
    folder = tmp_path / "folder"
    shutil.copytree(tiny_classifier, folder)
    small = {"vocab_size": 63, "max_position_embeddings": 70, "hidden_size": 32}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if name == "Roberta":
        small["type_vocab_size"] = 1
    if name == "DebertaV2":
        # A real vocabulary, and a table of relative positions that is no lookup of tokens.
        small |= {"vocab_size": 5000, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
    if name == "DistilBert":
        small, layers = {"vocab_size": 63, "dim": 32}, {"n_layers": 2, "n_heads": 4}
        small |= {"hidden_dim": 64, "max_position_embeddings": 64}
    config = getattr(transformers, f"{name}Config")(**small, **layers, num_labels=3)
    getattr(transformers, f"{name}ForSequenceClassification")(config).save_pretrained(folder)
    model = load(folder, tmp_path / "loaded")
    encoder = registry.get("encoders", "tokenizer")
    made = encoder.made_up(model.encoder, model, 6, seed=0)
    fitting = FittingData(write_rows(made, tmp_path / "rows"))
    exported = EXPORT.apply(model, {}, fitting, bench(tmp_path / "out")).model
    assert "attention" in exported.traits
    assert len(model.inputs) == (3 if name == "Electra" else 2)


def test_graph_that_answers_differently(
    model: Model, fitting: FittingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose answers differ is refused with the batch and the difference."""
    from jettison.graphs import torch_text

    forward = torch_text.TextModel.forward

    def untraceable(self, input_ids, attention_mask, token_type_ids=None):  # type: ignore[no-untyped-def]
        answer = forward(self, input_ids, attention_mask, token_type_ids)
        return answer + float(input_ids.shape[0])

    monkeypatch.setattr(torch_text.TextModel, "forward", untraceable)
    with pytest.raises(CandidateFailed, match=r"`input_ids` \(1, \d+\).* differs from PyTorch"):
        EXPORT.apply(model, {}, fitting, bench(tmp_path / "out"))


def test_opset_that_does_not_exist(model: Model, fitting: FittingData, tmp_path: Path) -> None:
    """An opset that the exporter does not know is refused with its reason."""
    with pytest.raises(CandidateFailed, match="opset 99"):
        EXPORT.apply(model, {"opset": 99}, fitting, bench(tmp_path / "out"))


def test_model_is_left_alone(model: Model, fitting: FittingData, tmp_path: Path) -> None:
    """The model that was given keeps its files and its traits."""
    EXPORT.apply(model, {}, fitting, bench(tmp_path / "out"))
    again = dataclasses.replace(
        model.artifact.of(model.artifact.format, model.artifact.folder, model.artifact.files)
    )
    assert again == model.artifact
    assert "torch" in model.traits
