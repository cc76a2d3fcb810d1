"""Channel pruning, low rank and recovery through their own door, on a small program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
from torch import nn  # noqa: E402

from jettison.domain.device import ServingProfile  # noqa: E402
from jettison.domain.encoder import Encoder  # noqa: E402
from jettison.domain.extension_points import Encoded  # noqa: E402
from jettison.domain.model import Model, TensorSpec  # noqa: E402
from jettison.domain.profile import LayerCost, Profile  # noqa: E402
from jettison.domain.recipe import Potential, Refusal  # noqa: E402
from jettison.domain.rows import Rows  # noqa: E402
from jettison.domain.splits import FittingData  # noqa: E402
from jettison.errors import CandidateFailed, NothingChanged  # noqa: E402
from jettison.formats.torch_program import TorchProgram  # noqa: E402
from jettison.graphs.torch_batchnorm import recalibrate  # noqa: E402
from jettison.graphs.torch_examples import FittingExamples  # noqa: E402
from jettison.graphs.torch_signature import Signature, parse_inputs  # noqa: E402
from jettison.machine import describe_device  # noqa: E402
from jettison.techniques.channel_pruning import ChannelPruning  # noqa: E402
from jettison.techniques.low_rank import LowRank  # noqa: E402
from jettison.techniques.recover import Recover  # noqa: E402
from jettison.worker.workbench import Bench, open_model  # noqa: E402

BenchIn = Callable[[str], Bench]
ROWS = 96


class Net(nn.Module):  # type: ignore[misc]
    """A small residual network for images of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.up, self.up_norm = nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24)
        self.down = nn.Conv2d(24, 16, 3, padding=1)
        self.head = nn.Linear(16, 4)
        self.signature = Signature(parse_inputs(["image: float32[batch, 3, 8, 8]"]), ("scores",))

    def forward(self, image: Any) -> Any:
        x = torch.relu(self.stem_norm(self.stem(image)))
        x = x + self.down(torch.relu(self.up_norm(self.up(x))))
        return self.head(x.mean((2, 3)))


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The network as a saved program."""
    torch.manual_seed(0)
    net = Net().eval()
    # Statistics of its own, so that recomputing them changes nothing by itself.
    recalibrate(net, [{"image": torch.randn(64, 3, 8, 8)} for _ in range(4)])
    artifact = TorchProgram().save(net, tmp_path_factory.mktemp("program"))
    return Model(
        artifact,
        frozenset({"torch", "float32", "dense", "convolution", "matmul"}),
        net.signature.inputs,
        (TensorSpec("scores", "float32", ("batch", 4)),),
        "scores",
        "classification",
        Encoder.of("arrays", {}),
    )


@pytest.fixture(scope="module")
def rows(
    write_rows: Callable[[Encoded, Path], Rows], tmp_path_factory: pytest.TempPathFactory
) -> Rows:
    """Made-up images."""
    image = np.random.default_rng(0).standard_normal((ROWS, 3, 8, 8)).astype(np.float32)
    return write_rows(Encoded({"image": image}), tmp_path_factory.mktemp("rows"))


@pytest.fixture
def labelled(rows: Rows) -> FittingData:
    """The images with a class each."""
    return FittingData.of(rows, 0, np.arange(ROWS) % 4)


@pytest.fixture
def unlabelled(rows: Rows) -> FittingData:
    """The images alone."""
    return FittingData(rows)


def _macs(model: Model) -> int:
    from jettison.graphs.torch_macs import total_macs

    return total_macs(open_model(model), {"image": torch.zeros(1, 3, 8, 8)})


def _weights(model: Model) -> int:
    return sum(int(weight.numel()) for weight in open_model(model).parameters())


@pytest.mark.parametrize("importance", ["reconstruction", "fisher"])
def test_channels_go_without_labels(
    model: Model, unlabelled: FittingData, bench_in: BenchIn, importance: str
) -> None:
    """A third of the products goes; the program reopens, answers as before in shape, and is smaller."""
    settings = {"removed": 0.34, "importance": importance, "round_to": 1, "fine_tune_epochs": 0}
    made = ChannelPruning().apply(model, settings, unlabelled, bench_in(importance))
    assert made.model.artifact.format == "torch_program"
    assert _macs(made.model) <= 0.66 * _macs(model)
    assert made.changes[0].weights == _weights(model) - _weights(made.model)
    assert made.model.artifact.size_bytes < model.artifact.size_bytes
    assert {"torch", "float32", "dense"} <= made.model.traits
    for batch in (1, 5):
        assert open_model(made.model)(image=torch.zeros(batch, 3, 8, 8)).shape == (batch, 4)


def test_structured_twice_gives_the_same_bytes(
    model: Model, labelled: FittingData, bench_in: BenchIn
) -> None:
    """With training and all, the same seed gives the same files."""
    settings = {"removed": 0.3, "importance": "taylor", "round_to": 4, "fine_tune_epochs": 1}
    made = [
        ChannelPruning().apply(model, settings, labelled, bench_in(name)) for name in ("a", "b")
    ]
    assert made[0].model.artifact.digest == made[1].model.artifact.digest
    assert "trained for 1 epochs" in made[0].changes[0].what


@pytest.mark.parametrize("target", ["original", "both"])
def test_training_brings_answers_closer(
    model: Model, labelled: FittingData, bench_in: BenchIn, target: str
) -> None:
    """After training on the original's answers they differ less from it than before."""
    image = torch.from_numpy(np.array(labelled.rows.column("image")))
    with torch.no_grad():
        wanted = open_model(model)(image=image)
    apart = {}
    for epochs in (0, 6):
        settings = {
            "removed": 0.6,
            "importance": "l1",
            "refit": False,
            "round_to": 1,
            "fine_tune_epochs": epochs,
            "fine_tune_target": target,
        }
        made = ChannelPruning().apply(model, settings, labelled, bench_in(f"{target}{epochs}"))
        with torch.no_grad():
            apart[epochs] = float((open_model(made.model)(image=image) - wanted).square().mean())
    if target == "original":
        assert apart[6] < 0.8 * apart[0]
    assert apart[6] != apart[0]


def test_low_rank_saves_products(model: Model, unlabelled: FittingData, bench_in: BenchIn) -> None:
    """A fifth of the products goes into pairs of layers, and the answers stay close."""
    settings = {"removed": 0.2, "round_to": 1, "fine_tune_epochs": 0}
    made = LowRank().apply(model, settings, unlabelled, bench_in("rank"))
    assert _macs(made.model) <= 0.8 * _macs(model)
    assert _weights(made.model) < _weights(model)
    image = torch.from_numpy(np.array(unlabelled.rows.column("image")))
    with torch.no_grad():
        wanted, found = (open_model(m)(image=image) for m in (model, made.model))
    assert float((wanted - found).square().mean() / wanted.var()) < 0.5
    by_loss = LowRank().apply(model, {**settings, "weighed": True}, unlabelled, bench_in("by loss"))
    assert _macs(by_loss.model) <= 0.8 * _macs(model)


def test_low_rank_by_energy(model: Model, unlabelled: FittingData, bench_in: BenchIn) -> None:
    """Keeping all but everything of the variance leaves layers whole; that is told."""
    settings = {"energy": 0.5, "round_to": 1, "fine_tune_epochs": 0}
    made = LowRank().apply(model, settings, unlabelled, bench_in("energy"))
    assert "layers replaced by two of rank" in made.changes[0].what
    with pytest.raises(NothingChanged, match="fewer products"):
        LowRank().apply(
            model, {**settings, "energy": 0.999999, "layers": "head"}, unlabelled, bench_in("all")
        )


@pytest.fixture
def masked(model: Model, bench_in: BenchIn) -> Model:
    """The network with half of one layer's filters at zero."""
    module = open_model(model)
    with torch.no_grad():
        module.up.weight[::2] = 0
    sparse = bench_in("mask").save(module, "torch_program", model)
    return sparse.with_traits(add=frozenset({"sparse"}), remove=frozenset({"dense"}))


def test_recovery_keeps_zeros(
    model: Model, masked: Model, labelled: FittingData, bench_in: BenchIn
) -> None:
    """A masked model learns from labels; the zeros stay, and it asks for them in its traits."""
    assert Recover.requires <= masked.traits
    assert not Recover.requires <= model.traits
    wish = {"fine_tune_epochs": 2, "fine_tune_target": "labels"}
    made = Recover().apply(masked, wish, labelled, bench_in("recover"))
    before, after = open_model(masked), open_model(made.model)
    assert not after.up.weight[::2].any()
    assert not torch.equal(after.down.weight, before.down.weight)
    assert "zeros stay zero" in made.changes[0].what


def test_recovery_without_labels_learns_from_the_original(
    model: Model, masked: Model, unlabelled: FittingData, bench_in: BenchIn
) -> None:
    """Its answers come nearer to those of the model that the recipe began with."""
    bench = dataclasses.replace(bench_in("recover"), original=model)
    made = Recover().apply(masked, {"fine_tune_epochs": 8}, unlabelled, bench)
    index = torch.arange(ROWS)
    rows = FittingExamples(unlabelled, classes=True).batch(index)
    with torch.no_grad():
        wanted = open_model(model)(**rows).softmax(1)
        apart = [
            float((open_model(one)(**rows).softmax(1) - wanted).abs().mean())
            for one in (masked, made.model)
        ]
    assert apart[1] < 0.8 * apart[0]
    assert not open_model(made.model).up.weight[::2].any()


@pytest.mark.parametrize(
    ("technique", "settings", "words"),
    [
        (ChannelPruning(), {"removed": 0.0}, "above 0 and below 1"),
        (ChannelPruning(), {"ranking": "odd"}, "`ranking` must be one of global, even"),
        (ChannelPruning(), {"layers": "stam"}, "'stam', which matches none"),
        (ChannelPruning(), {"fine_tune_epochs": -1}, "0 \\(no training\\) or more; got -1"),
        (ChannelPruning(), {"fine_tune_target": "labels", "fine_tune_epochs": 1}, "no labels"),
        (LowRank(), {"removed": 1.2}, "`removed` must be above 0"),
        (LowRank(), {"energy": 1.0}, "`energy` must be 0"),
        (Recover(), {}, "learns from the original, which is not at hand"),
        (Recover(), {"fine_tune_target": "labels"}, "the fitting rows have no labels"),
    ],
)
def test_settings_that_cannot_be_met(
    technique: Any,
    settings: dict[str, Any],
    words: str,
    model: Model,
    unlabelled: FittingData,
    bench_in: BenchIn,
) -> None:
    """Each has an error that says what is allowed."""
    with pytest.raises(CandidateFailed, match=words):
        technique.apply(model, {"round_to": 1, **settings}, unlabelled, bench_in("wrong"))


def _profile(*layers: LayerCost) -> Profile:
    return Profile(describe_device(), ServingProfile(), (), layers, 1e9, 0.02, 1000)


def test_bounds_are_those_of_amdahl(model: Model) -> None:
    """Half of the time in layers that can shrink by 80 % bounds the speed at 1 / 0.6."""
    conv = LayerCost("a", "Conv2d", 100, 10, 400, 0.3)
    linear = LayerCost("b", "Linear", 100, 10, 400, 0.2)
    rest = LayerCost("c", "outside of layers", 0, None, 0, 0.5)
    for technique in (ChannelPruning(), LowRank()):
        found = technique.potential(model, _profile(conv, linear, rest))
        assert isinstance(found, Potential)
        assert found.speedup == pytest.approx(1 / (1 - 0.8 * 0.5))
        assert "50% of the model's time" in found.reason
    alone = ChannelPruning().potential(model, _profile(linear, rest))
    assert isinstance(alone, Refusal)
    assert "only `b` has" in alone.reason
    none = LowRank().potential(model, _profile(rest))
    assert isinstance(none, Refusal)
