"""One method at one sparsity with one seed: prune, and measure what came out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.pruning.cases import Case
from benchmarks.pruning.obs import obs
from jettison.graphs.torch_layers import prunable_layers
from jettison.graphs.torch_subject import RowPlan, TorchSubject
from jettison.numerics.chita import Effort, LargestOverall, Plan, keeps, prune
from jettison.numerics.chita.solver import MAGNITUDE
from jettison.numerics.curvature import Objective, Storage

HELD_OUT = 5000
"""Training rows that only choices read."""

RIDGES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


@dataclass(frozen=True)
class Options:
    """How a method runs; what is not given by the user is chosen on held-out training rows."""

    rows: int = 1000
    samples: int = 16
    stages: int = 1
    first: float = 0.2
    schedule: str = "exponential"
    first_order: float = 0.0
    search: int = 0
    labelled: bool = True
    radius: float = 3.0
    ridges: tuple[float, ...] = RIDGES
    together: int = 50
    workspace: int = 256 * 2**20
    recalibrated: int = 1024
    evaluated: int = 256

    @property
    def title(self) -> str:
        words = [f"n={self.rows}", f"m={self.samples}", f"c={self.first_order:g}"]
        words += [f"T={self.stages} {self.schedule}"] * (self.stages > 1)
        words += ["IHT"] * (self.search > 0) + ["no labels"] * (not self.labelled)
        words += [f"ridge={self.ridges[0]:g}"] * (len(self.ridges) == 1)
        return " ".join(words)


@dataclass(frozen=True)
class Outcome:
    """What a run gave: accuracy in percent, seconds, and the loss that choices may read."""

    accuracy: float
    held_out_loss: float
    nonzero: int
    seconds: float
    peak_bytes: int
    ridge: float | None


def run(case: Case, method: str, sparsity: float, seed: int, options: Options) -> Outcome:
    """Prunes a copy of the network.

    Args:
        case: network and rows.
        method: `dense`, `magnitude`, `obs`, or `chita` (what it is more exactly is in the options).
        sparsity: share of zeros over all linear and convolution weights together.
        seed: of the held-out part, the rows and their order.
        options: of the method.
    """
    on_gpu = case.training.answers.is_cuda
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    begun = time.perf_counter()
    module = case.fresh()
    subject = _subject(case, module, seed, options)
    keep = keeps((subject.weights.size,), sparsity)[0]
    ridge = None
    if method == "dense":
        # BatchNorm statistics are recomputed, as after every pruning.
        subject.write(subject.read())
    elif method == "magnitude":
        weights = subject.read()
        subject.write(weights * LargestOverall(keep).mask(weights.abs()))
    elif method == "obs":
        ridge = _best_obs(subject, keep, options)
    else:
        _, stages = prune(subject, plan(subject, sparsity, options))
        ridge = stages[-1].ridge
    loss = subject.loss()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    nonzero = int((subject.read() != 0).sum())
    return Outcome(case.accuracy(module), loss, nonzero, seconds, peak, ridge)


def plan(subject: TorchSubject, sparsity: float, options: Options) -> Plan:
    """The plan of a run."""
    size = subject.weights.size
    return Plan(
        sparsity=sparsity,
        budget=lambda share: LargestOverall(keeps((size,), share)[0]),
        ridges=lambda unit: options.ridges,
        stages=options.stages,
        first=options.first,
        schedule=options.schedule,
        effort=Effort(rounds=options.search) if options.search else MAGNITUDE,
        radius=options.radius,
    )


def _subject(case: Case, module: Any, seed: int, options: Options) -> TorchSubject:
    count = min(HELD_OUT, case.training.n // 6)
    order = torch.Generator().manual_seed(seed)
    held_out = torch.randperm(case.training.n, generator=order)[:count]
    rows = RowPlan(
        options.rows,
        options.samples,
        options.together,
        options.first_order,
        Storage(limit_bytes=16 * 2**30, workspace_bytes=options.workspace),
        seed=seed,
        recalibrated=options.recalibrated,
        evaluated=options.evaluated,
    )
    objective = Objective("classification", options.labelled)
    layers = prunable_layers(module)
    return TorchSubject(module, layers, objective, case.training, held_out, rows)


def _best_obs(subject: TorchSubject, keep: int, options: Options) -> float:
    _, problem = next(subject.problems(0))
    found = []
    for ridge in options.ridges:
        weights = obs(problem.with_ridge(ridge * problem.rows.n), keep)
        subject.write(weights)
        loss = subject.loss()
        found.append((loss if math.isfinite(loss) else math.inf, ridge, weights))
    best = min(found, key=lambda one: one[0])
    subject.write(best[2])
    return best[1]
