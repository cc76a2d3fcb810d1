"""Workers that stay open between the questions that are put to them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from jettison.domain.device import ServingProfile
from jettison.domain.jobs import SessionJob, Variant
from jettison.domain.rows import Rows
from jettison.worker_client import WorkerSession


class Sessions:
    """The open workers of some variants, at most one each. A context manager.

    A search keeps the baseline's worker open over all its trials, and asks one worker of each
    candidate everything that it wants to know: starting a process costs more than most answers.
    A claim opens new ones for every launch.

    Args:
        rows: from which all draw the same batches when they are timed.
        serving: the same for all.
        folder: for the workers' logs while they run.
    """

    def __init__(self, rows: Rows, serving: ServingProfile, folder: Path) -> None:
        self.rows = rows
        self.serving = serving
        self.folder = folder
        self._open: dict[str, tuple[Variant, WorkerSession]] = {}

    def of(self, variant: Variant) -> WorkerSession:
        """Gives the worker of a variant; starts one where none is open.

        Raises:
            CandidateFailed: if the model can't be loaded or run.
        """
        held = self._open.get(variant.name)
        if held is not None and held[0] == variant and not held[1].closed:
            return held[1]
        self.end(variant)
        job = SessionJob(
            variant.model, variant.runtime, self.rows, self.serving, variant.one_by_one
        )
        session = WorkerSession(job, self.folder)
        self._open[variant.name] = (variant, session)
        return session

    def end(self, variant: Variant) -> None:
        """Ends the worker of this name, if there is one."""
        held = self._open.pop(variant.name, None)
        if held is not None:
            held[1].close()

    def __enter__(self) -> Sessions:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._open:
            _, (_, session) = self._open.popitem()
            session.__exit__(kind, error, trace)
