"""Runs jobs one after another or in several processes that share one accelerator."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.pruning.cases import Case
from benchmarks.pruning.runs import Options, Outcome, run
from jettison.errors import CandidateFailed


@dataclass(frozen=True)
class Job:
    """One run."""

    kind: str
    sparsity: float
    seed: int
    options: Options

    @property
    def key(self) -> str:
        """What the outcome depends on, in words."""
        # Magnitude reads no option.
        told = "" if self.kind in ("magnitude", "dense") else f" {self.options.title}"
        return f"{self.kind} {self.sparsity:g} seed {self.seed}{told}"


Runs = dict[str, Outcome]
"""Outcomes by the key of their job."""


class Pool:
    """Worker processes that hold a case each; with no workers, this process.

    Args:
        make: gives the case; must be importable, as it is called in every worker.
        workers: processes; networks of this size leave most of an accelerator idle.
        seconds: no job begins later than this.
        runs: of earlier calls; their jobs are not run again, and new ones are added.
    """

    def __init__(self, make: Callable[[], Case], workers: int, seconds: float, runs: Runs) -> None:
        self.case = make()
        self.runs = runs
        self._end = time.time() + seconds
        self._pool: Any = None
        if workers:
            context = multiprocessing.get_context("spawn")
            self._pool = context.Pool(workers, _begin, (make, self._end))
        else:
            _begin(lambda: self.case, self._end)

    def map(self, jobs: Sequence[Job]) -> list[Outcome | None]:
        """The outcomes in order; `None` where there was no time left or the run failed."""
        new = list({job.key: job for job in jobs if job.key not in self.runs}.values())
        made = self._pool.imap(_work, new) if self._pool is not None else map(_work, new)
        for job, outcome in zip(new, made, strict=True):
            if outcome is not None:
                self.runs[job.key] = outcome
        return [self.runs.get(job.key) for job in jobs]

    def alone(self, jobs: Sequence[Job]) -> list[Outcome | None]:
        """As `map`, in this process, so that nothing else shares the device."""
        if self._pool is not None:
            self._pool.close()
            self._pool.join()
            self._pool = None
            _begin(lambda: self.case, self._end)
        return [_work(job) for job in jobs]


_held: dict[str, Any] = {}


def _begin(make: Callable[[], Case], end: float) -> None:
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    _held["case"], _held["end"] = make(), end


def _work(job: Job) -> Outcome | None:
    if time.time() > _held["end"]:
        return None
    try:
        outcome = run(_held["case"], job.kind, job.sparsity, job.seed, job.options)
    except CandidateFailed as error:
        print(f"  FAILED {job}: {error}", flush=True)
        return None
    print(
        f"  {job.kind:10s} {job.sparsity:.2f} seed {job.seed:4d} {job.options.title:40s} "
        f"{outcome.accuracy:6.2f} % loss {outcome.held_out_loss:.4f} {outcome.seconds:.1f} s",
        flush=True,
    )
    return outcome
