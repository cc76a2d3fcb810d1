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


class Pool:
    """Worker processes that hold a case each; with no workers, this process.

    Args:
        make: gives the case; must be importable, as it is called in every worker.
        workers: processes; networks of this size leave most of an accelerator idle.
        seconds: no job begins later than this.
    """

    def __init__(self, make: Callable[[], Case], workers: int, seconds: float) -> None:
        self.case = make()
        self._end = time.time() + seconds
        self._pool: Any = None
        if workers:
            context = multiprocessing.get_context("spawn")
            self._pool = context.Pool(workers, _begin, (make, self._end))
        else:
            _begin(lambda: self.case, self._end)

    def map(self, jobs: Sequence[Job]) -> list[Outcome | None]:
        """The outcomes in order; `None` where there was no time left or the run failed."""
        if self._pool is None:
            return [_work(job) for job in jobs]
        found: list[Outcome | None] = self._pool.map(_work, jobs, chunksize=1)
        return found

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
