"""From trials to what certification is asked: contenders, what is timed, and the order that follows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from jettison import registry
from jettison.domain.configuration import Configuration
from jettison.domain.record import digest
from jettison.domain.run import GAIN, Trial
from jettison.domain.splits import CertificationSet
from jettison.pipeline.certify import CertificationRequest, Contender, plan_certification
from jettison.search.conclusion import Finalist
from jettison.search.trial import Bench, variant_of
from jettison.trust.labelling import as_labelled
from jettison.trust.looks import look_plan

RESOLUTION = 1.03
"""One launch of ranking can't tell a smaller gain from none (its spread is 1.5 to 2 %)."""


def cheaper(bench: Bench, trials: Sequence[Trial]) -> dict[str, tuple[Trial, float]]:
    """Complete trials that ranking shows cheaper in *the cost*: digest -> trial and gain."""
    found = {}
    least = RESOLUTION if registry.get("costs", bench.costs[0]).timed else 1.0
    for trial in trials:
        gain = trial.ranking.get(bench.costs[0] + GAIN) if trial.ranking is not None else None
        if trial.state == "complete" and gain is not None and (gain.value or 0.0) > least:
            found[trial.recipe.digest] = (trial, float(gain.value or 0.0))
    return found


def request_of(
    bench: Bench,
    trials: Sequence[Trial],
    sealed: CertificationSet,
    configuration: Configuration,
) -> CertificationRequest:
    """Describes all contenders; the plan made from it tells the order and whether it can pass."""
    contenders = tuple(
        Contender(
            variant=variant_of(trial.candidate),
            recipe=name,
            title=str(trial.recipe),
            gain=gain,
            contributions=trial.ranking.contributions if trial.ranking is not None else {},
        )
        for name, (trial, gain) in cheaper(bench, trials).items()
        if trial.candidate is not None
    )
    return CertificationRequest(
        baseline=bench.baseline,
        baseline_contributions=bench.quality.contributions if bench.quality is not None else {},
        contenders=contenders,
        selection=bench.selection,
        certification=sealed,
        requirements=bench.requirements,
        configuration_digest=digest(configuration),
        serving=bench.serving,
        ledger=configuration.ledger,
        folder=str(bench.folder / "certify"),
        on_undecided=configuration.on_undecided,
        longest=configuration.search.shortlist,
        reported=configuration.report,
        looks=look_plan(configuration.looks, configuration.spending),
    )


def order_of(request: CertificationRequest) -> list[str]:
    """The recipes in the order in which they would be tested."""
    return [place.recipe for place in plan_certification(as_labelled(request)).order]


def near(request: CertificationRequest, order: Sequence[str]) -> list[str]:
    """Contenders that ranking put behind the order, the most promising first.

    One launch is off by 2 %, so the fastest may be among those that ranking calls second.

    Args:
        request: with all contenders.
        order: made from it.
    """
    rest = tuple(c for c in request.contenders if c.recipe not in order)
    if not rest:
        return []
    plan = plan_certification(as_labelled(dataclasses.replace(request, contenders=rest)))
    found = sorted(plan.order, key=lambda place: -place.chance * math.log(place.gain))
    return [place.recipe for place in found]


def faster(finalists: Sequence[Finalist], cost: str) -> dict[str, float]:
    """Finalists that are shown faster: digest -> measured gain, the fastest first."""
    found = {}
    for one in finalists:
        gain = one.claim.get(cost + GAIN)
        if one.cost_verdict == "faster" and gain is not None and gain.value is not None:
            found[one.trial.recipe.digest] = gain.value
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def measured(request: CertificationRequest, gains: Mapping[str, float]) -> CertificationRequest:
    """The same request with the contenders that were shown faster, and their measured gains.

    They were timed on fitting rows, before any sealed row was opened: the order may rest on what was
    measured (CERTIFICATION section 1, point 1), and is nearer to the truth than one by ranking.
    """
    kept = tuple(
        dataclasses.replace(c, gain=gains[c.recipe])
        for c in request.contenders
        if c.recipe in gains
    )
    return dataclasses.replace(request, contenders=kept)


def testing(request: CertificationRequest | None, gains: Mapping[str, float]) -> list[str]:
    """What is tested, in order, by measured gains; the fastest first where there are no rows."""
    if request is None:
        return list(gains)
    asked = measured(request, gains)
    return order_of(asked) if asked.contenders else []


def told(
    request: CertificationRequest | None, finalists: Sequence[Finalist], cost: str
) -> list[tuple[Trial, str]]:
    """The order of testing with each verdict about the cost; what is not faster stands behind."""
    by_name = {one.trial.recipe.digest: one for one in finalists}
    order = [by_name[name] for name in testing(request, faster(finalists, cost))]
    rest = [one for one in finalists if one.cost_verdict != "faster"]
    return [(one.trial, one.cost_verdict) for one in (*order, *rest)]
