"""Techniques that set weights to zero by a mask, on real networks and real rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from jettison.domain.extension_points import Encoded, Source, Technique
from jettison.domain.model import Model
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs.mask_technique import MaskTechnique
from jettison.graphs.torch_layers import prunable_layers
from jettison.graphs.torch_masking import Masking, open_masking
from jettison.loaders.pytorch import PytorchLoader
from jettison.techniques.magnitude_pruning import MagnitudePruning
from jettison.techniques.sparsegpt import Sparsegpt
from jettison.techniques.wanda import Wanda
from jettison.worker.workbench import Bench, open_model

EXAMPLES = Path(__file__).parents[3] / "examples"
OURS = (MagnitudePruning(), Wanda(), Sparsegpt())
BenchIn = Callable[[str], Bench]


class RandomPruning(MaskTechnique):
    """Sets weights to zero at random: what every technique must beat. Not shipped."""

    name = "random_pruning"

    def prune(self, piece: Masking, settings: Any, fitting: FittingData) -> str:
        generator = torch.Generator().manual_seed(fitting.seed)
        for layer in piece.layers:
            scores = torch.rand(layer.module.weight.flatten(1).shape, generator=generator)
            piece.apply_mask(layer, scores >= piece.sparsity)
        return "at random"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def digits(
    mnist: dict[str, Any],
    write_rows: Callable[[Encoded, Path], Rows],
    tmp_path_factory: pytest.TempPathFactory,
) -> FittingData:
    """256 training images."""
    encoded = Encoded({"image": mnist["x_train"][:256]})
    return FittingData(write_rows(encoded, tmp_path_factory.mktemp("digits")))


def accuracy(model: Model, mnist: dict[str, Any]) -> float:
    with torch.no_grad():
        scores = open_model(model)(image=torch.from_numpy(mnist["x_test"][:2000]))
    return float((scores.argmax(1).numpy() == mnist["y_test"][:2000]).mean())


def zeros(model: Model) -> dict[str, tuple[int, int]]:
    """Zero and all weights of each layer."""
    return {
        layer.name: (int((layer.module.weight == 0).sum()), layer.count)
        for layer in prunable_layers(open_model(model))
    }


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
def test_half_of_the_weights(
    technique: Technique, mlpnet: Model, digits: FittingData, bench_in: BenchIn, mnist: Any
) -> None:
    """Half of the weights are zero, exactly; the traits and the log say so; answers stay good."""
    made = technique.apply(mlpnet, {"sparsity": 0.5}, digits, bench_in(technique.name))
    found = zeros(made.model)
    gone, total = sum(n for n, _ in found.values()), sum(n for _, n in found.values())
    assert abs(gone - total / 2) <= len(found)
    assert made.changes[0].weights == gone
    assert f"{gone:,} of {total:,} weights in 3 layers are zero (50.0%)" in made.changes[0].what
    assert "stored and multiplied like the others" in made.changes[0].what
    assert {"sparse", "torch", "float32"} <= made.model.traits
    assert "dense" not in made.model.traits
    # A mask stores as many bytes as before.
    assert made.model.artifact.size_bytes == pytest.approx(mlpnet.artifact.size_bytes, rel=0.01)
    assert accuracy(made.model, mnist) > 0.8


def test_every_technique_beats_chance(
    mlpnet: Model, digits: FittingData, bench_in: BenchIn, mnist: Any
) -> None:
    """At 70 %, weights chosen at random cost far more than those that a technique chooses."""
    found = {
        technique.name if technique in OURS else "random": accuracy(
            technique.apply(
                mlpnet, {"sparsity": 0.7}, digits, bench_in(type(technique).__name__)
            ).model,
            mnist,
        )
        for technique in (RandomPruning(), *OURS)
    }
    chance = found.pop("random")
    assert min(found.values()) > chance + 0.1


def test_compensation_beats_the_mask_alone(
    mlpnet: Model, digits: FittingData, bench_in: BenchIn, mnist: Any
) -> None:
    """At 2:4 the layer-wise OBS keeps more accuracy than magnitude."""
    scores = {
        technique.name: accuracy(
            technique.apply(mlpnet, {"pattern": "2:4"}, digits, bench_in(technique.name)).model,
            mnist,
        )
        for technique in OURS
    }
    assert scores["sparsegpt"] > scores["magnitude_pruning"]


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
def test_two_of_four(
    technique: Technique, mlpnet: Model, digits: FittingData, bench_in: BenchIn
) -> None:
    """No group of four inputs keeps more than two weights."""
    made = technique.apply(mlpnet, {"pattern": "2:4"}, digits, bench_in("nm"))
    for layer in prunable_layers(open_model(made.model)):
        kept = (layer.module.weight.detach() != 0).view(layer.weight_shape[0], -1, 4).sum(-1)
        assert int(kept.max()) == 2


def test_one_threshold_or_one_for_each_layer(
    mlpnet: Model, digits: FittingData, bench_in: BenchIn
) -> None:
    """A global budget prunes layers unequally; `per_layer` prunes each by the same share."""
    over_all = MagnitudePruning().apply(mlpnet, {"sparsity": 0.8}, digits, bench_in("a"))
    each = MagnitudePruning().apply(
        mlpnet, {"sparsity": 0.8, "budget": "per_layer"}, digits, bench_in("b")
    )
    assert {round(n / total, 2) for n, total in zeros(each.model).values()} == {0.8}
    assert len({round(n / total, 2) for n, total in zeros(over_all.model).values()}) == 3
    assert sum(n for n, _ in zeros(over_all.model).values()) == round(0.8 * 32360)


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
def test_outer_layers_and_patterns(
    technique: Technique, mlpnet: Model, digits: FittingData, bench_in: BenchIn
) -> None:
    """Layers that were left alone keep their weights, and the log names them."""
    made = technique.apply(mlpnet, {"keep_outer": True}, digits, bench_in("outer"))
    found = zeros(made.model)
    assert (found["fc1"][0], found["fc3"][0]) == (0, 0)
    assert found["fc2"][0] == 400
    assert "`fc1` left as it was: it is the first or the last" in made.changes[0].what
    made = technique.apply(mlpnet, {"layers": "fc3"}, digits, bench_in("named"))
    assert [n for n, _ in zeros(made.model).values()] == [0, 0, 100]


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sparsity": 0.0}, "`sparsity` is 0"),
        ({"sparsity": 1.0}, "`sparsity` is 1"),
        ({"sparsity": 1.2}, "above 0 and below 1"),
        ({"pattern": "4:2"}, "such as `2:4`"),
        ({"layers": "fc9"}, "near names"),
        ({"layers": "fc1", "keep_outer": True}, "no layer is left to prune"),
    ],
)
def test_what_can_t_be_done_is_refused(
    technique: Technique,
    settings: dict[str, Any],
    words: str,
    mlpnet: Model,
    digits: FittingData,
    bench_in: BenchIn,
) -> None:
    """Settings that make no sense are one clear refusal."""
    with pytest.raises(CandidateFailed, match=words):
        technique.apply(mlpnet, settings, digits, bench_in("bad"))


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
def test_pruning_again_changes_nothing(
    technique: Technique, mlpnet: Model, digits: FittingData, bench_in: BenchIn
) -> None:
    """A model that is sparse enough already has nothing to change."""
    once = technique.apply(mlpnet, {"sparsity": 0.5}, digits, bench_in("once"))
    with pytest.raises(NothingChanged, match="were zero before"):
        technique.apply(once.model, {"sparsity": 0.2}, digits, bench_in("again"))


@pytest.mark.parametrize("technique", OURS[1:], ids=lambda t: t.name)
def test_rows_that_are_not_numbers(
    technique: Technique,
    mlpnet: Model,
    bench_in: BenchIn,
    write_rows: Callable[[Encoded, Path], Rows],
    tmp_path: Path,
) -> None:
    """NaN in a fitting row names the batch and the layer."""
    images = np.zeros((40, 28, 28), np.float32)
    images[35] = np.nan
    rows = write_rows(Encoded({"image": images}), tmp_path / "nan")
    with pytest.raises(CandidateFailed, match=r"layer `fc1` is given NaN.*batch 1"):
        technique.apply(mlpnet, {}, FittingData(rows), bench_in("nan"))


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
def test_no_row_at_all(
    technique: Technique, mlpnet: Model, digits: FittingData, bench_in: BenchIn
) -> None:
    """Without a fitting row the technique says what it needs."""
    none = FittingData(dataclasses.replace(digits.rows, n=0))
    with pytest.raises(CandidateFailed, match="no fitting row"):
        technique.apply(mlpnet, {}, none, bench_in("none"))


class Bare(nn.Module):
    """A network without a weight that can be pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.norm(x)
        return answer


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
def test_no_weight_to_prune(
    technique: Technique,
    bench_in: BenchIn,
    write_rows: Callable[[Encoded, Path], Rows],
    tmp_path: Path,
) -> None:
    """A model of norms alone has nothing to prune."""
    source = Source("", "regression", {"inputs": "x: float32[batch, 4]"}, Bare())
    model = PytorchLoader().load(source, tmp_path / "bare")
    rows = write_rows(Encoded({"x": np.ones((4, 4), np.float32)}), tmp_path / "rows")
    with pytest.raises(NothingChanged, match="no weight that can be pruned"):
        technique.apply(model, {}, FittingData(rows), bench_in("bare"))


@pytest.fixture(scope="module")
def resnet20(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """ResNet-20 for CIFAR-10 with the weights of the paper."""
    options = {
        "weights": str(shared_data / "models" / "resnet20-cifar10-chita.safetensors"),
        "inputs": "image: float32[batch, 3, 32, 32]",
    }
    source = Source(f"{EXAMPLES / 'cifar_resnet.py'}:resnet20", "classification", options)
    return PytorchLoader().load(source, tmp_path_factory.mktemp("resnet20"))


@pytest.mark.parametrize("technique", OURS, ids=lambda t: t.name)
def test_resnet_with_batch_norm(
    technique: Technique,
    resnet20: Model,
    shared_data: Path,
    bench_in: BenchIn,
    write_rows: Callable[[Encoded, Path], Rows],
    tmp_path: Path,
) -> None:
    """Convolutions are pruned, statistics recomputed, and most answers of ResNet-20 stay."""
    with np.load(shared_data / "vision" / "cifar10-lossless-subset.npz") as stored:
        images = next(v for v in (stored[k] for k in stored.files) if v.ndim == 4)[:128]
    images = images if images.shape[1] == 3 else images.transpose(0, 3, 1, 2)
    images = (images.astype(np.float32) / 255 - 0.5) / 0.5
    rows = write_rows(Encoded({"image": images[:32]}), tmp_path / "cifar")
    made = technique.apply(resnet20, {"sparsity": 0.4}, FittingData(rows), bench_in("resnet"))
    assert "statistics of 21 BatchNorm layers recomputed" in made.changes[0].what
    tried = torch.from_numpy(images[32:])
    with torch.no_grad():
        before, after = (open_model(m)(image=tried).argmax(1) for m in (resnet20, made.model))
    assert float((before == after).float().mean()) > 0.8


def test_masking_names_what_is_not_needed(
    mlpnet: Model, digits: FittingData, bench_in: BenchIn
) -> None:
    """`open_masking` gives layers in the order of their calls, with the zeros that they have."""
    piece: Masking = open_masking(mlpnet, {}, digits, bench_in("open"))
    assert [layer.name for layer in piece.layers] == ["fc1", "fc2", "fc3"]
    assert piece.zeros == 0
    assert piece.sparsity == 0.5
