"""The search loop: propose, try, learn, until the trials or the minutes are spent."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from jettison.domain.configuration import SearchSection
from jettison.domain.progress import Progress
from jettison.domain.recipe import SearchSpace
from jettison.domain.run import Trial
from jettison.pipeline.measure import Sessions
from jettison.search.pareto import pareto_front
from jettison.search.study import Study
from jettison.search.trial import Bench, objectives, run_trial


class Tried(Protocol):
    """Is told of trials that are stored and over."""

    def __call__(self, trials: Sequence[Trial], *, stored: bool) -> None:
        """Takes trials; `stored` ones were made by an earlier run that was ended in this search."""
        ...


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told about trials: a person, and the audit trail."""

    progress: Progress
    tried: Tried


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        trials: in the order tried, including those of earlier, interrupted runs.
        front: recipe digests that no other complete trial dominates.
        interrupted: ended by Ctrl-C; nothing of it may open the seal.
        ended: why it ended, one sentence.
    """

    trials: tuple[Trial, ...]
    front: tuple[str, ...]
    interrupted: bool
    ended: str


def search(
    bench: Bench,
    space: SearchSpace,
    limits: SearchSection,
    identity: Mapping[str, str],
    watch: Watch,
) -> SearchResult:
    """Tries recipes one at a time and keeps what was learned on disk.

    Args:
        bench: what trials are measured against.
        space: what may be tried.
        limits: `trials` and `max_minutes`, whichever ends first; `seed`.
        identity: digests that stored trials depend on; a resumed folder must match.
        watch: told about each trial as soon as it is stored.
    """
    quality = tuple(r.metric for r in bench.requirements) if bench.selection is not None else ()
    study = Study(bench.folder / "search", space, (*bench.costs, *quality), limits.seed, identity)
    watch.progress.stage("search", limits.trials)
    watch.tried(tuple(study.trials), stored=True)
    for trial in study.trials:
        watch.progress.advance(_line(trial))
    deadline = time.monotonic() + 60 * limits.max_minutes
    interrupted = False
    try:
        with Sessions(bench.fitting.rows, bench.serving, bench.folder / "workers") as workers:
            ended = _until_spent(study, bench, workers, limits, deadline, watch)
    except KeyboardInterrupt:
        interrupted, ended = True, "you interrupted it"
    return SearchResult(tuple(study.trials), _front(bench, study.trials), interrupted, ended)


def _until_spent(
    study: Study,
    bench: Bench,
    workers: Sessions,
    limits: SearchSection,
    deadline: float,
    watch: Watch,
) -> str:
    """Tries recipes until something is spent; says what. A trial that is cut short is forgotten."""
    since = time.monotonic()
    while len(study.trials) < limits.trials:
        if time.monotonic() > deadline:
            return f"{limits.max_minutes:g} minutes were spent"
        proposal = study.propose()
        if proposal is None:
            return "every recipe of the space was tried"
        waited = time.monotonic() - since
        try:
            trial = run_trial(bench, workers, proposal.number, proposal.recipe, study.trials)
        except KeyboardInterrupt:
            study.abandon(proposal)
            raise
        since = time.monotonic()
        trial = _charged(trial, waited)
        study.learn(proposal, trial, objectives(bench, trial))
        watch.tried((trial,), stored=False)
        watch.progress.advance(_line(trial))
    return f"{limits.trials} trials were made"


def _charged(trial: Trial, waited: float) -> Trial:
    """Adds what the optimiser and its storage took since the trial before was over."""
    return dataclasses.replace(
        trial,
        seconds=trial.seconds + waited,
        overhead_seconds=trial.overhead_seconds + waited,
    )


def _front(bench: Bench, trials: list[Trial]) -> tuple[str, ...]:
    points = {}
    for trial in trials:
        values = objectives(bench, trial) if trial.state == "complete" else None
        if values is not None:
            points[trial.recipe.digest] = values
    return pareto_front(points)


def _line(trial: Trial) -> str:
    outcome = {"complete": "measured", "stopped": "stopped early", "failed": "failed"}[trial.state]
    log = trial.candidate.log if trial.candidate is not None and trial.reason else ()
    told = "; ".join(filter(None, (trial.reason, *(change.warning for change in log))))
    return f"{trial.recipe} {outcome}" + (f": {told}" if told else "")
