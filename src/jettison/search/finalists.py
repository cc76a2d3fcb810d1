"""Times the finalists at claim tier, before any sealed row is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jettison import registry
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.progress import Progress
from jettison.domain.run import GAIN, Trial
from jettison.pipeline import measure
from jettison.search.conclusion import Finalist
from jettison.search.trial import Bench, variant_of

OTHERS = 2
"""Further members of the front that are timed for the report, beside the shortlist."""

LONGEST_MINUTES, SHORTEST_MINUTES, SHARE = 6.0, 1.5, 0.25
"""Timing repeats disturbed launches for at most this share of the search's own minutes, and for the
shortest time where the cost is not a time: then times only inform."""

PATIENCE = 2
"""Disturbed launches after which no more are awaited, where times only inform."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Claim-tier figures.

    Attributes:
        shortlist: in the order of the shortlist.
        measurements: recipe digest, `baseline` or `a/a` -> figures.
        noise_floor: as a fraction; noisy: the machine was too busy.
    """

    shortlist: tuple[Finalist, ...]
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

    Args:
        bench: baseline, rows and serving profile.
        shortlist: candidates that certification may test, in order.
        others: further trials for the report; at most `OTHERS` are timed.
        search_minutes: that the user allowed the search.
        progress: told about each round.
    """
    chosen = [*shortlist, *[t for t in others if t not in shortlist][:OTHERS]]
    variants = [variant_of(t.candidate) for t in chosen if t.candidate is not None]
    progress.stage("time finalists")
    cost = bench.costs[0]
    timed = registry.get("costs", cost).timed
    longest = LONGEST_MINUTES if timed else SHORTEST_MINUTES
    minutes = min(longest, max(SHORTEST_MINUTES, SHARE * search_minutes))
    plan = measure.ClaimPlan(
        # Without a candidate there is nothing to claim: two launches tell what the baseline costs.
        launches=5 if variants else 2,
        max_seconds=60 * minutes if variants else 0.0,
        max_disturbed=None if timed else PATIENCE,
        tick=lambda done, expected: _tick(progress, done, expected),
    )
    result = measure.claim_costs(
        (bench.baseline, *variants),
        bench.fitting.rows,
        bench.serving,
        bench.costs,
        plan,
        bench.folder / "claims",
    )
    finalists = tuple(
        _finalist(trial, result.measurements[trial.recipe.digest], cost, result.noise_floor)
        for trial in shortlist
    )
    noisy = result.noisy and timed
    return Timed(finalists, result.measurements, result.noise_floor, noisy)


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
