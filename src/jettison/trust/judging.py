"""From outcomes to verdicts: the same code when certifying and when verifying."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jettison.domain.certificate import Claim, Grade, Requirement, Tested, Verdict
from jettison.domain.measurement import OVERALL
from jettison.domain.rows import Array
from jettison.statistics import (
    Combined,
    Judgement,
    Kind,
    Paired,
    columns_of,
    combine,
    individually_held,
    judge,
    run_fixed_sequence,
    value_of,
)
from jettison.statistics.verdicts import REPORTED_METHOD
from jettison.trust.contributions import BY_GROUP, column_of
from jettison.trust.outcomes import Outcomes

HELD_ALONE = "held alone, not among all groups: each name is a chance to be wrong (Holm)"
_RANK: Mapping[Grade, int] = {"A": 0, "B": 1, "C": 2}


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate, judged on the sealed rows.

    Attributes:
        claims: per requirement: the whole, then each group.
        verdict: over all that gates, at full alpha each (intersection-union).
        listable: nothing that gates is broken and every whole is held, so that `ship_listed` may
            ship it with the undecided groups named.
        reason: what is not held and why; empty when held.
    """

    claims: tuple[Claim, ...]
    verdict: Verdict
    listable: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the outcomes say about the whole shortlist.

    Attributes:
        tested: in order; those after the first that was not held are `not tested`.
        shipped: recipe of what may ship; `None` when nothing may.
        listed: groups that the shipped one could not certify, as `metric: group`.
        reason: why nothing ships; empty when something does.
    """

    tested: tuple[Tested, ...]
    shipped: str | None
    listed: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The whole (every row) or one group, under one requirement."""

    name: str
    rows: Array
    margin: float
    gates: bool
    listed: bool
    column: int = 0


def judge_candidate(outcomes: Outcomes, recipe: str) -> Judged:
    """Judges one candidate on every requirement and group.

    Raises:
        ValueError: if contributions break what their metric declares (a fault of the metric).
    """
    contributions = outcomes.candidates.get(recipe)
    if contributions is None or "baseline" in outcomes.failures:
        culprit = "baseline" if "baseline" in outcomes.failures else recipe
        return Judged((), "undecided", listable=False, reason=outcomes.failures[culprit])
    claims: list[Claim] = []
    combined: dict[str, Combined] = {}
    for requirement in outcomes.rules.requirements:
        candidate = contributions[requirement.metric]
        gating: dict[str, Judgement] = {}
        for part in _parts(outcomes, requirement):
            one = _judge(outcomes, requirement, part, candidate)
            claims.append(_claim(outcomes, requirement, part, one, candidate))
            if part.gates:
                gating[part.name] = one
        combined[requirement.metric] = combine(gating, requirement.require_grade)
    for metric in outcomes.rules.reported:
        if metric in contributions and metric in outcomes.baseline:
            claims += _reported(outcomes, metric, contributions[metric])
        else:
            claims.append(_not_shown(metric))
    verdicts = {one.verdict for one in combined.values()}
    verdict: Verdict = (
        "broken" if "broken" in verdicts else "undecided" if "undecided" in verdicts else "held"
    )
    reasons = [f"{metric} of {one.reason}" for metric, one in combined.items() if one.reason]
    listable = all(one.listable(OVERALL) for one in combined.values())
    return Judged(tuple(claims), verdict, listable, "; ".join(reasons))


def conclude(outcomes: Outcomes, titles: Mapping[str, str]) -> Conclusion:
    """Runs the fixed sequence over what was tested.

    Args:
        outcomes: of the sealed rows. A candidate in the order without contributions and without a
            failure was not reached.
        titles: recipe -> what a person calls it.
    """
    rules = outcomes.rules
    # Whatever lies behind one that was not reached was never tested in its turn.
    reached = list(
        itertools.takewhile(
            lambda r: r in outcomes.candidates or r in outcomes.failures, rules.order
        )
    )
    sequence = run_fixed_sequence(reached, lambda recipe: judge_candidate(outcomes, recipe))
    results = dict(sequence.tested)
    shipped = sequence.shipped
    first = rules.order[0] if rules.order else ""
    # Only the first: its test of the whole was made at full alpha whatever the groups said.
    listing = shipped is None and rules.on_undecided == "ship_listed" and first in results
    if listing and results[first].listable:
        shipped = first
        claims = _one_by_one(outcomes, first, results[first].claims)
        results[first] = dataclasses.replace(results[first], claims=claims)
    tested = tuple(
        Tested(
            recipe,
            titles.get(recipe, recipe[:12]),
            results[recipe].verdict if recipe in results else "not tested",
            results[recipe].claims if recipe in results else (),
        )
        for recipe in rules.order
    )
    if shipped is None:
        why = outcomes.failures.get("baseline") or (results[first].reason if results else "")
        return Conclusion(tested, None, (), why or "nothing was tested")
    listed = [f"{m}: {g}" for m, groups in rules.listed.items() for g in groups]
    listed += [
        f"{c.metric}: {c.group}" for c in results[shipped].claims if c.gates and c.verdict != "held"
    ]
    return Conclusion(tested, shipped, tuple(listed), "")


def _one_by_one(outcomes: Outcomes, recipe: str, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
    """Leaves `held` to groups that pass Holm's step-down over all groups that gate.

    To name good groups after "all groups" was not held is another claim, and each name a chance to
    be wrong. The whole needs no division: it must be held first, and was. Tests of grade B depend
    on alpha beyond their p-value (floors, a guard), so they are made at alpha / groups.

    Args:
        claims: of this candidate, as `judge_candidate` gave them: those asked for come first.
    """
    rules, values = outcomes.rules, outcomes.candidates[recipe]
    asked = [(one, part) for one in rules.requirements for part in _parts(outcomes, one)]
    groups = {i: a for i, a in enumerate(asked) if a[1].gates and a[1].name != OVERALL}
    most = max(r.alpha for r in rules.requirements)
    judgements: dict[str, Judgement] = {}
    for i, (requirement, part) in groups.items():
        share = 1.0 if claims[i].grade == "A" else 1.0 / len(groups)
        one = _judge(outcomes, requirement, part, values[requirement.metric], share)
        # As a multiple of its own error rate: a stricter requirement stays the stricter one.
        p_value = (one.p_value or 0.0) * (most / requirement.alpha)
        judgements[str(i)] = dataclasses.replace(
            one, p_value=p_value if one.verdict == "held" else 1.0
        )
    named = individually_held(judgements, rules.share * most)
    return tuple(
        dataclasses.replace(claim, verdict="undecided", reason=HELD_ALONE)
        if i in groups and claim.verdict == "held" and str(i) not in named
        else claim
        for i, claim in enumerate(claims)
    )


def _parts(outcomes: Outcomes, requirement: Requirement) -> Iterator[_Part]:
    """Gives the whole, each group found, and each gating group that has no row at all."""
    gating = outcomes.rules.gating[requirement.metric]
    listed = outcomes.rules.listed.get(requirement.metric, ())
    yield _Part(OVERALL, outcomes.whole(), requirement.max_drop, gates=True, listed=False)
    masks = outcomes.masks()
    for name in sorted({*masks, *gating, *listed}):
        rows = masks.get(name, np.zeros(outcomes.n, dtype=bool))
        column = column_of(name, outcomes.groups)
        margin = requirement.max_drop_group
        yield _Part(name, rows, margin, name in gating, name in listed, column)


def _reported(outcomes: Outcomes, metric: str, candidate: Array) -> Iterator[Claim]:
    """Shows a metric without a test of it: the whole, then each group found."""
    shown = Requirement(metric, 0.0, 0.0)
    groups = sorted(outcomes.masks().items())
    for name, rows in ((OVERALL, outcomes.whole()), *groups):
        column = column_of(name, outcomes.groups)
        part = _Part(name, rows, 0.0, gates=False, listed=False, column=column)
        # As a kind that has no test it is never more than shown; then any margin does.
        judgement = judge(_paired(outcomes, metric, part, candidate, "reported_only"), 1.0)
        yield _claim(outcomes, shown, part, judgement, candidate)


def _not_shown(metric: str) -> Claim:
    """Says that a metric in `report` is undefined on the rows, for one model at least."""
    return Claim(
        metric=metric,
        group=OVERALL,
        margin=0.0,
        gates=False,
        n=0,
        baseline=None,
        candidate=None,
        estimate=None,
        bound=None,
        p_value=None,
        grade="C",
        method=REPORTED_METHOD,
        verdict="undecided",
        reason="it could not be scored on these rows",
    )


def _judge(
    outcomes: Outcomes, requirement: Requirement, part: _Part, candidate: Array, share: float = 1.0
) -> Judgement:
    alpha = requirement.alpha * outcomes.rules.share * share
    if outcomes.rules.metrics[requirement.metric].kind == "binary" and part.margin >= 1.0:
        # Such a group never gates (the plan sees to it), and must not cost the others their look.
        shown = judge(
            _paired(outcomes, requirement.metric, part, candidate, "reported_only"), part.margin
        )
        return dataclasses.replace(
            shown, reason=f"a margin of {part.margin:g} leaves nothing to show"
        )
    return judge(_paired(outcomes, requirement.metric, part, candidate), part.margin, alpha)


def _paired(
    outcomes: Outcomes, metric: str, part: _Part, candidate: Array, kind: Kind | None = None
) -> Paired:
    facts = outcomes.rules.metrics[metric]
    strata = outcomes.strata.get(metric)
    before, after, bases = columns_of(
        facts.kind, outcomes.baseline[metric][part.rows], candidate[part.rows], part.column
    )
    return Paired(
        baseline=before,
        candidate=after,
        bases=bases,
        strata=None if strata is None else strata[part.rows],
        kind=kind or facts.kind,
        units=None if outcomes.units is None else outcomes.units[part.rows],
        weights=None if outcomes.weights is None else outcomes.weights[part.rows],
        low=-math.inf if facts.low is None else facts.low,
        high=math.inf if facts.high is None else facts.high,
        better=facts.better,
        against_reference=facts.against_reference,
    )


def _claim(
    outcomes: Outcomes,
    requirement: Requirement,
    part: _Part,
    judgement: Judgement,
    candidate: Array,
) -> Claim:
    verdict, reason = _honest(judgement, requirement, part)
    return Claim(
        metric=requirement.metric,
        group=part.name,
        margin=part.margin,
        gates=part.gates,
        n=judgement.n,
        baseline=_value(outcomes, outcomes.baseline[requirement.metric], requirement, part),
        candidate=_value(outcomes, candidate, requirement, part),
        estimate=judgement.estimate,
        bound=judgement.bound,
        p_value=judgement.p_value,
        grade=judgement.grade,
        method=judgement.method,
        verdict=verdict,
        rows_needed=judgement.rows_needed,
        reason=reason,
    )


def _honest(judgement: Judgement, requirement: Requirement, part: _Part) -> tuple[Verdict, str]:
    """Gives the verdict that may be printed for one part.

    A group that does not gate is never called held: naming good groups one by one after looking
    is another claim than the one that was tested. Its bound stands, for that group taken alone.
    """
    if judgement.verdict != "held":
        note = "listed before the seal opened as not certified: " if part.listed else ""
        return judgement.verdict, note + judgement.reason
    if not part.gates:
        return "undecided", (
            "not part of the claim (it does not gate): the bound holds for this group taken alone"
        )
    if _RANK[judgement.grade] > _RANK[requirement.require_grade]:
        return "undecided", (
            f"its grade {judgement.grade} is weaker than the grade {requirement.require_grade} "
            "required"
        )
    return "held", ""


def _value(
    outcomes: Outcomes, contributions: Array, requirement: Requirement, part: _Part
) -> float | None:
    """The metric on some rows; `None` where it has no rows, or isn't known."""
    facts = outcomes.rules.metrics[requirement.metric]
    unlabelled, weights = outcomes.unlabelled, outcomes.weights
    needs = not facts.against_reference
    if needs and unlabelled is not None and bool(unlabelled[part.rows].any()):
        return None
    if weights is not None:
        weights = weights[part.rows]
        # Influence values were found without weights, so a weighted mean of them means nothing.
        if facts.kind in BY_GROUP and weights.size and float(np.ptp(weights)) > 0:
            return None
    return value_of(facts.kind, contributions[part.rows], weights, part.column)
