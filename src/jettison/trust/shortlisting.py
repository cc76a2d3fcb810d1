"""What to certify, in which order, and whether it can pass: all before the seal opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from jettison import registry
from jettison.domain.certificate import Requirement
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL
from jettison.domain.splits import CertificationSet, SelectionSet
from jettison.errors import ConfigError, SealRefused
from jettison.statistics import Ranked, shortlist
from jettison.trust.ledger import Ledger
from jettison.trust.looks import ONE_LOOK
from jettison.trust.planning import PartPlan, Seen, plan_parts, prospect_of, selection_drops
from jettison.trust.seal import sealed_row_set


@dataclass(frozen=True, slots=True)
class Contender:
    """A candidate that ranking shows cheaper than the baseline.

    Attributes:
        variant: as it will be run and served.
        recipe: its digest.
        title: what a person calls it.
        gain: baseline / candidate in the cost, from ranking; above 1 is cheaper.
        contributions: metric -> `.npy` file, shape (n,), on the selection rows.
    """

    variant: Variant
    recipe: str
    title: str
    gain: float
    contributions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CertificationRequest:
    """What to certify.

    Attributes:
        baseline: the untouched model on its own runtime.
        baseline_contributions: metric -> `.npy` file, shape (n,), on the selection rows.
        contenders: candidates; those not cheaper than the baseline are left out.
        selection: rows that the search saw; they order the shortlist. `None` without.
        certification: the sealed rows.
        requirements: at least one.
        configuration_digest: of everything that the user asked for.
        serving: threads and batch sizes, the same for all.
        ledger: folder; empty for the user's own.
        folder: for intermediate files and `outcomes.npz`.
        on_undecided: `fail`, or `ship_listed`.
        longest: most candidates to test.
        reported: metrics that are shown beside the claims and never gate.
        looks: each look's share of alpha, as declared before the first look at these rows.
    """

    baseline: Variant
    baseline_contributions: Mapping[str, str]
    contenders: tuple[Contender, ...]
    selection: SelectionSet | None
    certification: CertificationSet
    requirements: tuple[Requirement, ...]
    configuration_digest: str
    serving: ServingProfile
    ledger: str
    folder: str
    on_undecided: Literal["fail", "ship_listed"] = "fail"
    longest: int = 6
    reported: tuple[str, ...] = ()
    looks: tuple[float, ...] = ONE_LOOK


@dataclass(frozen=True, slots=True)
class Place:
    """One member of the shortlist, with its predicted chance to be held."""

    recipe: str
    title: str
    gain: float
    chance: float


@dataclass(frozen=True, slots=True)
class CertificationPlan:
    """What is known before the seal opens.

    Attributes:
        parts: rows held and needed, per metric and group.
        order: in which candidates would be tested.
        possible: whether the run can pass; if not, the look is not spent.
        reason: why not, without a full stop; empty when possible.
        look: which look at these rows it would be, from 1.
    """

    parts: tuple[PartPlan, ...]
    order: tuple[Place, ...]
    possible: bool
    reason: str
    look: int = 1


def plan_certification(request: CertificationRequest) -> CertificationPlan:
    """Says what can pass with the rows at hand, and in which order to test. Opens nothing.

    Raises:
        ConfigError: if nothing is required, or one metric twice.
        CheckFailed: if the seal or the ledger was damaged.
    """
    _check(request.requirements)
    look, refusal = _standing(request)
    share = request.looks[look - 1]
    seen = {c.recipe: _selection_of(request, c) for c in request.contenders}
    parts = _parts(request, {}, share)
    order = _order(request, parts, seen, share)
    first = seen[order[0].prospect.name] if order else {}
    parts = _parts(request, first, share)
    by_recipe = {c.recipe: c for c in request.contenders}
    places = tuple(
        Place(
            one.prospect.name,
            by_recipe[one.prospect.name].title,
            by_recipe[one.prospect.name].gain,
            one.probability,
        )
        for one in order
    )
    reason = _impossible(parts, places) or refusal
    return CertificationPlan(parts, places, not reason, reason, look)


def _standing(request: CertificationRequest) -> tuple[int, str]:
    """Which look at these rows comes next, and why the ledger would refuse it."""
    alpha = max(r.alpha for r in request.requirements)
    rows = sealed_row_set(request.certification)
    try:
        return Ledger.at(request.ledger).next_look(rows, alpha, request.looks), ""
    except SealRefused as refusal:
        return 1, str(refusal)


def _check(requirements: tuple[Requirement, ...]) -> None:
    metrics = [requirement.metric for requirement in requirements]
    if not metrics:
        raise ConfigError(["`require` is empty: a certificate needs at least one requirement"])
    twice = sorted({metric for metric in metrics if metrics.count(metric) > 1})
    if twice:
        raise ConfigError(
            [f"`{m}` is required more than once; keep one [[require]]" for m in twice]
        )


def _selection_of(
    request: CertificationRequest, contender: Contender
) -> Mapping[str, Mapping[str, Seen]]:
    if request.selection is None:
        return {}
    seen: dict[str, Mapping[str, Seen]] = {}
    for requirement in request.requirements:
        name = requirement.metric
        seen[name] = selection_drops(
            registry.get("metrics", name),
            np.load(request.baseline_contributions[name], allow_pickle=False),
            np.load(contender.contributions[name], allow_pickle=False),
            request.selection,
        )
    return seen


def _parts(
    request: CertificationRequest, first: Mapping[str, Mapping[str, Seen]], share: float
) -> tuple[PartPlan, ...]:
    parts: list[PartPlan] = []
    for requirement in request.requirements:
        seen = first.get(requirement.metric, {})
        parts += plan_parts(
            request.certification, requirement, seen, request.on_undecided, share=share
        )
    return tuple(parts)


def _order(
    request: CertificationRequest,
    parts: tuple[PartPlan, ...],
    seen: Mapping[str, Mapping[str, Mapping[str, Seen]]],
    share: float,
) -> tuple[Ranked, ...]:
    # What can't pass stops the run anyway; the chance of such a part is not defined.
    known = [part for part in parts if not part.obstacle]
    prospects = [
        prospect_of(c.recipe, c.gain, known, seen[c.recipe])
        for c in request.contenders
        if c.gain > 1.0
    ]
    alpha = share * min(r.alpha for r in request.requirements)
    return shortlist(prospects, alpha, request.longest)


def _impossible(parts: tuple[PartPlan, ...], order: tuple[Place, ...]) -> str:
    """Says why the run can't pass, or gives an empty string."""
    if not order:
        return "no candidate is cheaper than the original, so there is nothing to certify"
    stuck = [part for part in parts if part.gates and part.obstacle]
    if stuck:
        told = "; ".join(f"{p.metric} of {p.group}: {p.obstacle}{_wanted(p)}" for p in stuck[:5])
        more = f"; and {len(stuck) - 5} more" if len(stuck) > 5 else ""
        hint = ""
        if all(part.group != OVERALL for part in stuck):
            hint = (
                '. Add rows, widen max_drop_group, or set on_undecided = "ship_listed" to list '
                "such groups as not certified"
            )
        return f"the sealed rows can't suffice, so they were not opened ({told}{more}){hint}"
    return ""


def _wanted(part: PartPlan) -> str:
    return f"; about {part.needed:,} are needed" if part.needed and part.held < part.floor else ""
