"""`RunRecord`: everything a run found out, as the report, the card and the terminal show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jettison.domain.certificate import Certificate
from jettison.domain.configuration import Configuration
from jettison.domain.measurement import Measurement
from jettison.domain.model import Model
from jettison.domain.profile import Profile
from jettison.domain.recipe import Candidate, Recipe, SearchSpace

GAIN = ":gain"
"""Suffix of the estimate that says how many times better a cost is than the baseline's.

`latency_ms:gain` is baseline / candidate (2.0: half the time), a geometric mean over launches with
its interval; `size_bytes:gain` likewise, exact. Group `overall` is the serving profile's weighted
value, group `batch=8` one batch size. Above 1 is better for costs where lower is better.
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe that the search tried.

    Attributes:
        number: from 0, in the order tried.
        recipe: what was tried.
        state: `complete`, `failed` (could not be built or run), `stopped` (hopeless, early).
        reason: why it failed or was stopped, one sentence; empty when complete.
        candidate: `None` when it could not be built.
        ranking: costs (as gains over the baseline, never quoted) and selection quality.
        seconds: whole trial; of it `overhead_seconds` outside applying and measuring: the
            optimiser, and storing what the trial before found.
    """

    number: int
    recipe: Recipe
    state: Literal["complete", "failed", "stopped"]
    reason: str
    candidate: Candidate | None
    ranking: Measurement | None
    seconds: float
    overhead_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What the rows were, for the card and the report.

    Attributes:
        source: as the user named it.
        rows: rows per use (`fitting`, `selection`, `certification`).
        group_sizes: sealed rows per group.
        duplicates: rows dropped as exact copies of encoded inputs.
        digest: of the splits.
        notes: sentences of the reader.
    """

    source: str
    rows: Mapping[str, int]
    group_sizes: Mapping[str, int]
    duplicates: int
    digest: str
    notes: tuple[str, ...] = ()


Outcome = Literal["improved", "nothing_better", "undecided", "interrupted"]

EXIT_CODES: Mapping[Outcome, int] = {
    "improved": 0,
    "nothing_better": 3,
    "undecided": 4,
    "interrupted": 4,
}
"""DESIGN section 7: 0 a certified improvement, 3 nothing beat the original, 4 undecided."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run.

    Attributes:
        outcome: see `EXIT_CODES`.
        answer: the result in one sentence.
        next_step: what to do about it, one sentence; empty when there is nothing to do.
        configuration, model, profile, space, data: what went in.
        baseline: claim-tier figures of the untouched model.
        trials: in the order tried.
        claims: claim-tier figures per recipe digest, for finalists and other rows of the report;
            includes the key `a/a`, a second copy of the baseline: the noise floor.
        front: recipe digests on the Pareto front of the search.
        shipped: recipe digest of what ships, or empty.
        certificate: always present; says why when uncertified.
        noise_floor: half width of the A/A interval as a fraction.
        stage_seconds: stage -> seconds, in order.
        command: to repeat the run.
        started: UTC, ISO 8601.
        notes: anything a person should know.
    """

    outcome: Outcome
    answer: str
    next_step: str
    configuration: Configuration
    model: Model
    profile: Profile
    space: SearchSpace
    data: DataSummary | None
    baseline: Measurement
    trials: tuple[Trial, ...]
    claims: Mapping[str, Measurement]
    front: tuple[str, ...]
    shipped: str
    certificate: Certificate
    noise_floor: float
    stage_seconds: Mapping[str, float]
    command: str
    started: str
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def exit_code(self) -> int:
        """The process exit code of this outcome."""
        return EXIT_CODES[self.outcome]

    def trial_of(self, recipe_digest: str) -> Trial | None:
        """Finds the trial of a recipe."""
        for trial in self.trials:
            if trial.recipe.digest == recipe_digest:
                return trial
        return None
