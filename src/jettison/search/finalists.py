"""Times the finalists at claim tier, before any sealed row is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jettison import registry
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.progress import Progress
from jettison.domain.run import GAIN, Trial
from jettison.errors import CandidateFailed
from jettison.pipeline import measure
from jettison.search.conclusion import Finalist
from jettison.search.trial import Bench, variant_of

OTHERS = 2
"""Further trials that are timed beside the shortlist: what ranking can't tell from it, or the front."""

LONGEST_MINUTES, SHORTEST_MINUTES, SHARE = 6.0, 1.5, 0.25
"""Timing takes at most this share of the search's own minutes, after the launches that any claim needs,
and the shortest time where the cost is not a time: then times only inform."""

PATIENCE = 2
"""Disturbed launches after which no more are awaited, where times only inform."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Claim-tier figures.

    Attributes:
        finalists: what may be tested, the shortlist by ranking first.
        measurements: recipe digest, `baseline` or `a/a` -> figures.
        noise_floor: as a fraction; noisy: the machine was too busy.
    """

    finalists: tuple[Finalist, ...]
    measurements: Mapping[str, Measurement]
    noise_floor: float
    noisy: bool


def time_finalists(
    bench: Bench,
    shortlist: Sequence[Trial],
    others: Sequence[Trial],
    search_minutes: float,
    progress: Progress,
) -> Timed:
    """Measures the baseline, a second copy of it, the shortlist, and a few others side by side.

    Where they can't all be held or run at once, those behind are left out, and are not finalists.

    Args:
        bench: baseline, rows and serving profile.
        shortlist: candidates that certification may test.
        others: further trials, for the report alone.
        search_minutes: that the user allowed the search.
        progress: told about each round.

    Raises:
        CandidateFailed: if the baseline alone can't be run.
    """
    progress.stage("time finalists")
    while True:
        try:
            result = _claimed(bench, [*shortlist, *others], search_minutes, progress)
            break
        except CandidateFailed as failure:
            if not (shortlist or others):
                raise
            fewer = shortlist if others else shortlist[: len(shortlist) // 2]
            count = len(shortlist) + len(others)
            progress.say(
                f"{count} candidates could not be timed side by side ({failure}); {len(fewer)} are"
            )
            shortlist, others = fewer, ()
    cost = bench.costs[0]
    finalists = tuple(
        _finalist(trial, result.measurements[trial.recipe.digest], cost, result.noise_floor)
        for trial in shortlist
    )
    noisy = result.noisy and registry.get("costs", cost).timed
    return Timed(finalists, result.measurements, result.noise_floor, noisy)


def _claimed(
    bench: Bench, chosen: Sequence[Trial], search_minutes: float, progress: Progress
) -> measure.ClaimResult:
    variants = [variant_of(t.candidate) for t in chosen if t.candidate is not None]
    timed = registry.get("costs", bench.costs[0]).timed
    longest = LONGEST_MINUTES if timed else SHORTEST_MINUTES
    minutes = min(longest, max(SHORTEST_MINUTES, SHARE * search_minutes))
    # Times that only inform need an interval, and no narrow one. Without a candidate there is nothing to
    # claim: two launches tell what the baseline costs.
    usual, fewest = (5, 3) if timed else (3, 2)
    plan = measure.ClaimPlan(
        launches=usual if variants else 2,
        max_seconds=60 * minutes if variants else 0.0,
        fewest=fewest if variants else 2,
        max_disturbed=None if timed else PATIENCE,
        tick=lambda done, expected: _tick(progress, done, expected),
    )
    return measure.claim_costs(
        (bench.baseline, *variants),
        bench.fitting.rows,
        bench.serving,
        bench.costs,
        plan,
        bench.folder / "claims",
    )


def _finalist(trial: Trial, claim: Measurement, cost: str, noise_floor: float) -> Finalist:
    gain = claim.get(cost + GAIN, OVERALL)
    if registry.get("costs", cost).timed:
        return Finalist(trial, claim, measure.faster_verdict(gain, noise_floor))
    return Finalist(trial, claim, _exact(gain))


def _exact(gain: Estimate | None) -> measure.FasterVerdict:
    """A cost that does not vary from launch to launch has no noise to exceed."""
    if gain is None or gain.value is None or gain.value == 1.0:
        return "no difference shown"
    return "faster" if gain.value > 1.0 else "slower"


def _tick(progress: Progress, done: int, expected: int) -> None:
    if done == 1:
        progress.stage("time finalists", expected)
    progress.advance()
