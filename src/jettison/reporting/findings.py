"""What the record says about one recipe: its gain, its change of quality, its prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jettison.domain.certificate import Claim, Tested
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.recipe import Potential, Recipe
from jettison.domain.run import GAIN, RunRecord, Trial


@dataclass(frozen=True, slots=True)
class Gain:
    """How many times better a cost is than the original's.

    Attributes:
        estimate: the ratio, above 1 is better, with its interval and n.
        tier: `claim` may be quoted; `ranking` only steered the search.
    """

    estimate: Estimate
    tier: Literal["ranking", "claim"]


@dataclass(frozen=True, slots=True)
class QualityChange:
    """How much better (positive) or worse (negative) quality is than the original's.

    Attributes:
        metric, unit: what was compared and in which unit.
        value: candidate against original, positive is better; `None` when not measured.
        worst: the certified bound of it (one-sided, at the confidence asked); `None` on selection rows.
        n: rows behind it.
        rows: `sealed` rows carry a verdict; `selection` rows only steered the search.
        margin: the largest drop allowed.
    """

    metric: str
    unit: str
    value: float | None
    worst: float | None
    n: int
    rows: Literal["sealed", "selection"]
    margin: float | None


def the_cost(record: RunRecord) -> str:
    """The name of *the cost*: the first in `minimise`."""
    return record.configuration.search.minimise[0]


def unit_of(record: RunRecord, metric: str) -> str:
    """The unit that a quality metric was measured in; empty when it never was."""
    for measurement in (record.baseline, *record.claims.values(), *_rankings(record.trials)):
        found = measurement.get(metric)
        if found is not None:
            return found.unit
    return ""


def gain_of(record: RunRecord, trial: Trial, metric: str, group: str = OVERALL) -> Gain | None:
    """The gain of one recipe in one cost: the claim where there is one, else the ranking."""
    claim = record.claims.get(trial.recipe.digest)
    found = claim.get(metric + GAIN, group) if claim is not None else None
    if found is not None and found.value is not None:
        return Gain(found, "claim")
    found = trial.ranking.get(metric + GAIN, group) if trial.ranking is not None else None
    return Gain(found, "ranking") if found is not None and found.value is not None else None


def best_gain_with(record: RunRecord, technique: str) -> Gain | None:
    """The best gain in the cost of any recipe with this technique; claims come before rankings."""
    gains = [
        gain
        for trial in record.trials
        if technique in {step.name for step in trial.recipe.steps}
        and (gain := gain_of(record, trial, the_cost(record))) is not None
    ]
    return max(
        gains, key=lambda gain: (gain.tier == "claim", gain.estimate.value or 0.0), default=None
    )


def best_float(record: RunRecord) -> tuple[Trial, Gain] | None:
    """The candidate without 8-bit arithmetic whose gain in the cost is the largest claim."""
    found = [
        (trial, gain)
        for trial in record.trials
        if trial.candidate is not None
        and "int8" not in trial.candidate.model.traits
        and (gain := gain_of(record, trial, the_cost(record))) is not None
        and gain.tier == "claim"
    ]
    return max(found, key=lambda pair: pair[1].estimate.value or 0.0, default=None)


def quality_of(record: RunRecord, trial: Trial) -> QualityChange | None:
    """The change of the first required metric: as certified, else on selection rows."""
    tested = tested_of(record, trial.recipe.digest)
    claim = next((c for c in tested.claims if c.group == OVERALL), None) if tested else None
    if claim is not None and claim.estimate is not None:
        worst = None if claim.bound is None else -claim.bound
        unit = unit_of(record, claim.metric)
        return QualityChange(
            claim.metric, unit, -claim.estimate, worst, claim.n, "sealed", claim.margin
        )
    return selection_change(record, trial.ranking)


def selection_change(
    record: RunRecord, measurement: Measurement | None, group: str = OVERALL
) -> QualityChange | None:
    """The change of the first required metric on selection rows; `None` when not measured."""
    if measurement is None or not record.configuration.requirements:
        return None
    requirement = record.configuration.requirements[0]
    new = measurement.get(requirement.metric, group)
    old = record.baseline.get(requirement.metric, group)
    if new is None or old is None or new.value is None or old.value is None:
        return None
    better = new.value - old.value if new.better == "higher" else old.value - new.value
    margin = requirement.max_drop if group == OVERALL else requirement.max_drop_group
    return QualityChange(requirement.metric, new.unit, better, None, new.n, "selection", margin)


def tested_of(record: RunRecord, recipe_digest: str) -> Tested | None:
    """What certification says about one recipe; `None` when it was not on the shortlist."""
    return next((t for t in record.certificate.order if t.recipe == recipe_digest), None)


def claims_of(record: RunRecord) -> tuple[Claim, ...]:
    """The claims to show: of what ships, else of the last member of the shortlist tested."""
    if record.certificate.claims:
        return record.certificate.claims
    tested = [t for t in record.certificate.order if t.claims]
    return tested[-1].claims if tested else ()


def prediction(record: RunRecord, recipe: Recipe) -> tuple[Potential | None, tuple[str, ...]]:
    """The most that a recipe's techniques could gain together, and the reason of each.

    Bounds multiply: each one bounds what its technique does to the model that it is given.
    """
    known = {advice.technique: advice.potential for advice in record.space.advice}
    found = [(step.name, known[step.name]) for step in recipe.steps if step.name in known]
    if not found:
        return None, ()
    speedup = math.prod(potential.speedup for _, potential in found)
    size = math.prod(potential.size_ratio for _, potential in found)
    reasons = tuple(f"{name}: {potential.reason}" for name, potential in found)
    return Potential(speedup, size, " ".join(reasons)), reasons


def _rankings(trials: Sequence[Trial]) -> list[Measurement]:
    return [trial.ranking for trial in trials if trial.ranking is not None]
