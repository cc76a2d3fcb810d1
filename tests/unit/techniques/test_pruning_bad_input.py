"""What no pruning technique can work with: each is one clear refusal, the same kind everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
from torch import nn  # noqa: E402

from jettison.domain.device import ServingProfile  # noqa: E402
from jettison.domain.extension_points import Encoded, Source, Technique  # noqa: E402
from jettison.domain.model import Model  # noqa: E402
from jettison.domain.profile import Profile  # noqa: E402
from jettison.domain.recipe import Refusal  # noqa: E402
from jettison.domain.rows import Rows  # noqa: E402
from jettison.domain.splits import FittingData  # noqa: E402
from jettison.errors import CandidateFailed, NothingChanged  # noqa: E402
from jettison.loaders.pytorch import PytorchLoader  # noqa: E402
from jettison.machine import describe_device  # noqa: E402
from jettison.techniques.channel_pruning import ChannelPruning  # noqa: E402
from jettison.techniques.chita import Chita  # noqa: E402
from jettison.techniques.low_rank import LowRank  # noqa: E402
from jettison.techniques.magnitude_pruning import MagnitudePruning  # noqa: E402
from jettison.techniques.recover import Recover  # noqa: E402
from jettison.techniques.recover_private import RecoverPrivate  # noqa: E402
from jettison.techniques.sparsegpt import Sparsegpt  # noqa: E402
from jettison.techniques.wanda import Wanda  # noqa: E402
from jettison.worker.workbench import Bench, open_model  # noqa: E402

BenchIn = Callable[[str], Bench]
WriteRows = Callable[[Encoded, Path], Rows]
MASKS: tuple[Technique, ...] = (MagnitudePruning(), Wanda(), Sparsegpt(), Chita())
STRUCTURED: tuple[Technique, ...] = (ChannelPruning(), LowRank())
EVERY = (*MASKS, *STRUCTURED)
ROWS = 40
QUICK = {"stages": 1, "rows": 20, "ridge": 1e-2, "round_to": 2}
"""Settings that keep each of them short; a technique reads its own."""


pytestmark = pytest.mark.usefixtures("one_thread")


class Shared(nn.Module):  # type: ignore[misc]
    """Two layers that are one weight, a head, and a factor that can switch the answer off."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.entry, self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.head = nn.Linear(16, 3)
        self.factor = factor

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.entry(x))
        return self.head(torch.relu(self.second(torch.relu(self.first(x))))) * self.factor


class Norms(nn.Module):  # type: ignore[misc]
    """Nothing to prune."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Any) -> Any:
        return self.norm(x)


def loaded(module: Any, folder: Path) -> Model:
    source = Source("", "classification", {"inputs": "x: float32[batch, 8]"}, live=module.eval())
    return PytorchLoader().load(source, folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The network with a shared weight."""
    return loaded(Shared(), tmp_path_factory.mktemp("shared"))


def fitting(write_rows: WriteRows, folder: Path, poisoned: float | None = None) -> FittingData:
    """Rows in three classes; one value of one row may be poisoned."""
    x = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    if poisoned is not None:
        x[5, 0] = poisoned
    return FittingData.of(write_rows(Encoded({"x": x}), folder), 0, np.arange(ROWS) % 3)


def named(technique: Technique) -> str:
    return technique.name


@pytest.mark.parametrize("technique", EVERY, ids=named)
@pytest.mark.parametrize("share", [0.0, 1.0, 1.5])
def test_a_share_that_removes_nothing_or_all(
    technique: Technique,
    share: float,
    shared: Model,
    bench_in: BenchIn,
    write_rows: WriteRows,
    tmp_path: Path,
) -> None:
    """0, 1 and above 1 are refused with what is allowed."""
    rows = fitting(write_rows, tmp_path / "rows")
    settings = {**QUICK, "sparsity": share, "removed": share}
    with pytest.raises(CandidateFailed, match="above 0 and below 1"):
        technique.apply(shared, settings, rows, bench_in("share"))


@pytest.mark.parametrize("technique", EVERY, ids=named)
def test_layers_that_match_nothing(
    technique: Technique,
    shared: Model,
    bench_in: BenchIn,
    write_rows: WriteRows,
    tmp_path: Path,
) -> None:
    """A pattern without a match lists names that are near."""
    rows = fitting(write_rows, tmp_path / "rows")
    with pytest.raises(CandidateFailed, match=r"heap.*head"):
        technique.apply(shared, {**QUICK, "layers": "heap"}, rows, bench_in("heap"))


@pytest.mark.parametrize("technique", MASKS, ids=named)
def test_a_shared_weight_is_pruned_once_and_stays_shared(
    technique: Technique,
    shared: Model,
    bench_in: BenchIn,
    write_rows: WriteRows,
    tmp_path: Path,
) -> None:
    """Both layers have the same zeros afterwards, counted once."""
    rows = fitting(write_rows, tmp_path / "rows")
    settings = {**QUICK, "sparsity": 0.5, "layers": "first"}
    made = technique.apply(shared, settings, rows, bench_in("shared"))
    module = open_model(made.model)
    assert module.first.weight is module.second.weight
    assert int((module.first.weight == 0).sum()) == 128
    assert made.changes[0].weights == 128


@pytest.mark.parametrize("technique", EVERY, ids=named)
def test_no_weight_that_can_go(
    technique: Technique, bench_in: BenchIn, write_rows: WriteRows, tmp_path: Path
) -> None:
    """A model of norms alone: nothing changes, and the reason is told."""
    model = loaded(Norms(), tmp_path / "norms")
    rows = fitting(write_rows, tmp_path / "rows")
    with pytest.raises(NothingChanged, match="no "):
        technique.apply(model, QUICK, rows, bench_in("norms"))


@pytest.mark.parametrize("importance", ["fisher", "taylor"])
def test_gradients_that_are_zero_or_not_finite(
    importance: str, bench_in: BenchIn, write_rows: WriteRows, tmp_path: Path
) -> None:
    """Channels can't be ranked by them; `chita` has its own test of the same."""
    settings = {**QUICK, "importance": importance, "removed": 0.3}
    dead = loaded(Shared(0.0), tmp_path / "dead")
    with pytest.raises(CandidateFailed, match="zero"):
        ChannelPruning().apply(dead, settings, fitting(write_rows, tmp_path / "r"), bench_in("d"))
    alive = loaded(Shared(), tmp_path / "alive")
    rows = fitting(write_rows, tmp_path / "nan", float("nan"))
    with pytest.raises(CandidateFailed, match=r"not finite|NaN"):
        ChannelPruning().apply(alive, settings, rows, bench_in("n"))


def test_no_memory_for_rows(
    shared: Model, bench_in: BenchIn, write_rows: WriteRows, tmp_path: Path
) -> None:
    """A limit that holds no row is refused; what rows need is told in `test_chita`."""
    rows = fitting(write_rows, tmp_path / "rows")
    with pytest.raises(CandidateFailed, match="`memory_mb` must be at least 1; got 0"):
        Chita().apply(shared, {**QUICK, "memory_mb": 0}, rows, bench_in("memory"))


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (True, "not finite before anything is pruned"),
        (False, r"mini-batch \d+ is not finite in layer `entry"),
    ],
)
def test_not_finite_names_batch_and_layer(
    held: bool,
    said: str,
    shared: Model,
    bench_in: BenchIn,
    write_rows: WriteRows,
    tmp_path: Path,
) -> None:
    """Which mini-batch and layer, or that the rows held out for the loss are at fault."""
    rows = fitting(write_rows, tmp_path / "rows")
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0)).numpy()
    held_out = ROWS // 5
    stored = Path(rows.rows.folder) / "x.npy"
    x = np.load(stored)
    x[order[:held_out] if held else order[held_out:], 0] = np.nan
    np.save(stored, x)
    with pytest.raises(CandidateFailed, match=said):
        Chita().apply(shared, QUICK, rows, bench_in("nan"))


class Normed(nn.Module):  # type: ignore[misc]
    """A norm between two layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.head = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        return self.head(torch.relu(self.norm(self.first(x))))


@pytest.mark.parametrize("technique", MASKS[:3], ids=named)
def test_rows_that_come_sorted_are_mixed_for_statistics(
    technique: Technique, bench_in: BenchIn, write_rows: WriteRows, tmp_path: Path
) -> None:
    """Copies in contexts come one context after the other; no batch of one has the variance of all."""
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    x[32:] += 6.0
    rows = FittingData(write_rows(Encoded({"x": x}), tmp_path / "rows"))
    model = loaded(Normed(), tmp_path / "model")
    made = technique.apply(model, {"layers": "head"}, rows, bench_in("sorted"))
    module = open_model(made.model)
    with torch.no_grad():
        whole = module.first(torch.from_numpy(x)).var(0)
    torch.testing.assert_close(module.norm.running_var, whole, rtol=0.3, atol=0.0)


@pytest.fixture
def alone(tmp_path: Path) -> Model:
    """A program that was exported for one row at a time."""
    program = torch.export.export(Normed().eval(), (torch.randn(1, 8),))
    source = Source("", "classification", {}, live=program)
    return PytorchLoader().load(source, tmp_path / "alone")


@pytest.mark.parametrize("technique", MASKS[:3], ids=named)
def test_single_rows_leave_statistics_alone(
    technique: Technique, alone: Model, bench_in: BenchIn, write_rows: WriteRows, tmp_path: Path
) -> None:
    """A model that takes one row at a time is pruned; one row has no variance to learn from."""
    assert "fixed-batch" in alone.traits
    rows = fitting(write_rows, tmp_path / "rows")
    made = technique.apply(alone, {}, rows, bench_in("alone"))
    before, after = open_model(alone), open_model(made.model)
    assert torch.equal(before.norm.running_var, after.norm.running_var)
    assert "recomputed" not in made.changes[0].what


@pytest.mark.parametrize(
    "technique", [*STRUCTURED, Chita(), Recover(), RecoverPrivate()], ids=named
)
def test_fixed_batches_are_refused_before_anything_runs(technique: Technique, alone: Model) -> None:
    """What needs batches of its own says so in the plan."""
    profile = Profile(describe_device(), ServingProfile(), (), (), 1e9, 0.02, 1000)
    found = technique.potential(alone, profile)
    assert isinstance(found, Refusal)
    assert "batches of one size only" in found.reason


class Chooses(Shared):
    """Answers with the number of a class."""

    def forward(self, x: Any) -> Any:
        return super().forward(x).argmax(1)


def test_class_numbers_have_no_gradient(
    bench_in: BenchIn, write_rows: WriteRows, tmp_path: Path
) -> None:
    """What learns from gradients says that there are none."""
    model = loaded(Chooses(), tmp_path / "model")
    rows = fitting(write_rows, tmp_path / "rows")
    asked: tuple[tuple[Technique, dict[str, Any]], ...] = (
        (Chita(), {}),
        (LowRank(), {"weighed": True}),
        (LowRank(), {"removed": 0.2, "fine_tune_epochs": 1}),
    )
    for place, (technique, settings) in enumerate(asked):
        with pytest.raises(CandidateFailed, match="class numbers have no gradient"):
            technique.apply(model, {**QUICK, **settings}, rows, bench_in(f"numbers {place}"))
