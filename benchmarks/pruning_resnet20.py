"""ResNet-20 on CIFAR-10 as JPEG, the part that a CPU core can do: few rows, few stages.

    python -m benchmarks.pruning_resnet20 statistics              # what BatchNorm does to a mask
    python -m benchmarks.pruning_resnet20 stages 0.8 exponential  # one run of 8 stages
    python -m benchmarks.pruning_resnet20 stages 0.8 exponential --rows 256 --samples 4

Stages have 64 Fisher rows of 16 images each, drawn from 29,600 training images; 400 more are held
out for every choice (ridge, statistics), and 1,000 test images are read at the end. Each part adds
its rows to one stored file. The full sweep is `benchmarks.pruning_resnet20_h100`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.pruning.cases import Case, resnet20_case
from benchmarks.pruning_resnet20_h100 import DENSE, PUBLISHED
from benchmarks.results_file import Row, stored_rows, write
from jettison.graphs.torch_batchnorm import batch_norms, recalibrate
from jettison.graphs.torch_layers import prunable_layers
from jettison.graphs.torch_subject import RowPlan, TorchSubject
from jettison.numerics.chita import LargestOverall, Plan, Stage, keeps, prune
from jettison.numerics.chita.solver import MAGNITUDE
from jettison.numerics.curvature import Objective, Storage
from jettison.statistics.intervals import wilson_interval

NAME = "pruning-resnet20-cpu"
ROWS, SAMPLES, STAGES = 64, 16, 8
HELD_OUT, RECALIBRATED, TESTED = 400, 256, 1000
RIDGES = (1e-1, 1e-2)
SPARSITIES = (0.5, 0.7, 0.8)
NOTES = (
    f"Unless told otherwise {STAGES} stages of {ROWS} Fisher rows of {SAMPLES} JPEG training images "
    f"({ROWS * SAMPLES:,} images a stage; the published runs read 8,000 in each of 15 stages); {HELD_OUT} more training "
    f"images choose ridge and BatchNorm statistics; tested on {TESTED:,} JPEG test images drawn once. "
    "One seed; accuracy with Wilson's interval over the test images. Not the data of the published "
    "table.",
)


@dataclass(frozen=True)
class Size:
    """Fisher rows, images in each, and stages."""

    rows: int = ROWS
    samples: int = SAMPLES
    stages: int = STAGES

    def title(self, schedule: str) -> str:
        """The method in words."""
        other = (self.rows, self.samples) != (ROWS, SAMPLES)
        rows = f", {self.rows} rows of {self.samples}" if other else ""
        return f"CHITA, {self.stages} stages, {schedule}{rows}"


def subject_of(case: Case, module: Any, size: Size) -> TorchSubject:
    """The network with its rows; seed 0."""
    order = torch.Generator().manual_seed(0)
    held_out = torch.randperm(case.training.n, generator=order)[:HELD_OUT]
    storage = Storage(limit_bytes=8 * 2**30, workspace_bytes=128 * 2**20)
    plan = RowPlan(size.rows, size.samples, 1, 1.0, storage, recalibrated=RECALIBRATED)
    objective = Objective("classification", labelled=True)
    layers = prunable_layers(module)
    return TorchSubject(module, layers, objective, case.training, held_out, plan)


def accuracy(case: Case, module: Any, model: str, method: str, note: str = "") -> Row:
    """Accuracy on the test images."""
    order = torch.Generator().manual_seed(5)
    index = torch.randperm(case.test.n, generator=order)[:TESTED]
    right = 0
    with torch.no_grad():
        for part in index.split(250):
            found = module(**case.test.batch(part)).argmax(1)
            right += int((found == case.test.targets(part)).sum())
    span = wilson_interval(right, TESTED)
    value, low, high = 100.0 * right / TESTED, 100 * span.low, 100 * span.high
    return Row(model, method, "accuracy", value, low, high, "%", TESTED, note)


def statistics(case: Case) -> Iterator[Row]:
    """Magnitude masks with three kinds of BatchNorm statistics: no weight is corrected."""
    module = case.fresh()
    subject = subject_of(case, module, Size())
    yield accuracy(case, module, case.title, "dense", f"published {DENSE} on clean images")
    yield _loss(case.title, "dense", subject.loss())
    start, norms = subject.read(), batch_norms(module)
    carried = [(n.running_mean.clone(), n.running_var.clone()) for n in norms]
    first = _recomputed(case, module, norms)
    _put(norms, first)
    yield accuracy(case, module, case.title, "dense, BatchNorm recomputed")
    for sparsity in SPARSITIES:
        mask = LargestOverall(keeps((len(start),), sparsity)[0]).mask(start.abs())
        subject.weights.write(start * mask)
        fresh = _recomputed(case, module, norms)
        moved = [
            (new[0] + (was[0] - old[0]) * (new[1] / old[1]).sqrt(), was[1] * new[1] / old[1])
            for was, new, old in zip(carried, fresh, first, strict=True)
        ]
        model = f"{case.title}, sparsity {sparsity:g}"
        for kind, values in (("carried", carried), ("recomputed", fresh), ("moved", moved)):
            _put(norms, values)
            yield accuracy(case, module, model, f"magnitude, statistics {kind}")


def _recomputed(case: Case, module: Any, norms: Any) -> list[tuple[Any, Any]]:
    order = torch.Generator().manual_seed(1)
    index = torch.randperm(case.training.n, generator=order)[:RECALIBRATED]
    recalibrate(module, [case.training.batch(index)])
    return [(n.running_mean.clone(), n.running_var.clone()) for n in norms]


def _put(norms: Any, values: Iterable[tuple[Any, Any]]) -> None:
    for norm, (mean, variance) in zip(norms, values, strict=True):
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def _loss(model: str, method: str, loss: float) -> Row:
    note = f"{HELD_OUT} training images"
    return Row(model, method, "held_out_loss", loss, None, None, "nat", HELD_OUT, note)


def stages(case: Case, sparsity: float, schedule: str, size: Size) -> Iterator[Row]:
    """One run in stages with the gradient, the ridge chosen and adapted by held-out loss."""
    module = case.fresh()
    subject = subject_of(case, module, size)
    count = subject.weights.size
    begun = time.monotonic()
    plan = Plan(
        sparsity=sparsity,
        budget=lambda share: LargestOverall(keeps((count,), share)[0]),
        ridges=lambda unit: RIDGES,
        stages=size.stages,
        schedule=schedule,
        effort=MAGNITUDE,
        radius=3.0,
    )
    _, told = prune(subject, plan)
    model, method = f"{case.title}, sparsity {sparsity:g}", size.title(schedule)
    figure = PUBLISHED.get(sparsity, {}).get("CHITA++")
    drop = "" if figure is None else f"; published drop {DENSE - figure:.2f}, other data"
    note = f"{time.monotonic() - begun:.0f} s beside other work; {_told(told)}{drop}"
    yield accuracy(case, module, model, method, note)
    yield _loss(model, method, subject.loss())


def _told(told: tuple[Stage, ...]) -> str:
    parts = [f"{stage.sparsity:.3f}: {stage.loss:.3f} ({stage.ridge:.2g})" for stage in told]
    return f"sparsity, held-out loss and ridge of the stages: {', '.join(parts)}"


def keep(rows: Iterable[Row]) -> None:
    """Adds rows to the stored file; a row of the same name is replaced."""
    found = {(row.model, row.method, row.metric): row for row in stored_rows(NAME)}
    for row in rows:
        print(row.model, row.method, row.metric, row.value, flush=True)
        found[row.model, row.method, row.metric] = row
        write(NAME, list(found.values()), NOTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("JETTISON_DATA", "../shared/data"))
    parser.add_argument("part", choices=("statistics", "stages"))
    parser.add_argument("sparsity", type=float, nargs="?", default=0.8)
    parser.add_argument("schedule", nargs="?", default="exponential")
    parser.add_argument("--data", type=Path, default=data)
    for name, usual in (("rows", ROWS), ("samples", SAMPLES), ("stages", STAGES)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    torch.set_num_threads(1)
    case = resnet20_case(given.data, "cpu")
    if given.part == "statistics":
        keep(statistics(case))
    else:
        size = Size(given.rows, given.samples, given.stages)
        keep(stages(case, given.sparsity, given.schedule, size))


if __name__ == "__main__":
    main()
