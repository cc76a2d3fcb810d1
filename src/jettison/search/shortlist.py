"""From trials to what certification is asked: contenders, order, and what of it was timed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jettison import registry
from jettison.domain.configuration import Configuration
from jettison.domain.record import digest
from jettison.domain.run import GAIN, Trial
from jettison.domain.splits import CertificationSet
from jettison.pipeline.certify import CertificationRequest, Contender
from jettison.search.trial import Bench, variant_of
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


def only(request: CertificationRequest, names: Sequence[str]) -> CertificationRequest:
    """The same request with fewer contenders."""
    kept = tuple(c for c in request.contenders if c.recipe in names)
    return dataclasses.replace(request, contenders=kept)
