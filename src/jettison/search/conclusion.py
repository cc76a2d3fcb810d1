"""The answer: one sentence, what to do next, and what ships. A pure function of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jettison import registry
from jettison.domain.certificate import Certificate, Claim
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.run import GAIN, Outcome, Trial
from jettison.pipeline.measure import FasterVerdict
from jettison.trust.labelling import UNLABELLED

FILES = "size_bytes"
"""The one size that files have; a model that is smaller in another is not called smaller."""
NAMED_GROUPS = 3
"""Groups that the answer names as not certified; beyond it counts them."""


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trial that was measured at claim tier.

    Attributes:
        trial: complete.
        claim: its figures.
        cost_verdict: of the first cost that is minimised.
    """

    trial: Trial
    claim: Measurement
    cost_verdict: FasterVerdict


@dataclass(frozen=True, slots=True)
class Facts:
    """What the answer depends on.

    Attributes:
        cost: name of the first metric in `minimise`.
        trials: how many recipes were tried.
        finalists: measured at claim tier, in the order of the shortlist.
        certificate: of the run.
        shipped: recipe digest that the certificate is about, or that ships uncertified; empty.
        interrupted: whether the search was.
        noisy: whether the machine was too busy for any claim of cost.
    """

    cost: str
    trials: int
    finalists: Sequence[Finalist]
    certificate: Certificate
    shipped: str
    interrupted: bool
    noisy: bool


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The outcome in words."""

    outcome: Outcome
    answer: str
    next_step: str
    shipped: str


def conclude(facts: Facts) -> Conclusion:
    """Decides what a run found. Nothing is called better that was not measured and certified."""
    shipped = next((f for f in facts.finalists if f.trial.recipe.digest == facts.shipped), None)
    faster = [f for f in facts.finalists if f.cost_verdict == "faster"]
    if facts.interrupted:
        return Conclusion(
            "interrupted",
            f"The search was interrupted after {facts.trials} trials; the sealed rows stay sealed.",
            "Run the same command again to go on where it stopped.",
            "",
        )
    if shipped is not None and facts.certificate.status == "certified":
        return Conclusion("improved", _improved(facts, shipped), "", facts.shipped)
    if facts.noisy and not faster:
        return Conclusion(
            "undecided",
            "The machine was too busy to tell whether any candidate is faster: the cost claim is "
            "noisy.",
            "Run again when nothing else uses this machine; what was learned is kept.",
            "",
        )
    if shipped is not None and facts.certificate.status == "uncertified":
        gain = _gain_words(facts.cost, shipped.claim.get(facts.cost + GAIN, OVERALL))
        return Conclusion(
            "undecided",
            f"{shipped.trial.recipe} is {gain}, but is not certified: {facts.certificate.reason}.",
            _uncertified_step(facts.certificate.reason),
            facts.shipped,
        )
    if facts.certificate.status == "failed":
        return _failed(facts)
    return Conclusion("nothing_better", _nothing_better(facts), "", "")


def _improved(facts: Facts, shipped: Finalist) -> str:
    gain = _gain_words(facts.cost, shipped.claim.get(facts.cost + GAIN, OVERALL))
    size = shipped.claim.get(FILES + GAIN, OVERALL)
    smaller = ""
    if facts.cost != FILES and size is not None and size.value is not None:
        word = "smaller" if size.value >= 1 else "larger"
        smaller = f" and {max(size.value, 1 / size.value):.1f}x {word}"
        if f"{size.value:.2f}" == "1.00":
            smaller = " and no smaller on disk"
    overall = [c for c in facts.certificate.claims if c.group == OVERALL and c.gates]
    asked = {c.metric for c in overall}
    parts = [c for c in facts.certificate.claims if c.group != OVERALL and c.metric in asked]
    groups = {c.group for c in parts if c.gates}
    held = " and ".join(f"{c.metric} within {_margin(c)}" for c in overall if c.verdict == "held")
    by_group = f", and within the margin of each of {len(groups)} groups" if groups else ""
    listed = sorted({c.group for c in parts if c.verdict != "held"})
    if listed:
        named = len(listed) <= NAMED_GROUPS
        told = ", ".join(listed) if named else f"{len(listed)} groups that the report names"
        by_group = f"{by_group if groups.isdisjoint(listed) else ''}; not certified for {told}"
    return (
        f"{shipped.trial.recipe} is {gain}{smaller} than the original, and certified to keep "
        f"{held} of it{by_group}."
    )


def _uncertified_step(reason: str) -> str:
    if "no-certify" in reason:
        return "Run again without --no-certify when you are content with what you see."
    if reason == UNLABELLED:
        return (
            "Label the rows on which the models differ, and only those: `jettison label` with the "
            "folder of this run (it opens the sealed rows, once)."
        )
    if "no data" in reason:
        return "Give rows with --data (and --target, if you have labels) to certify quality."
    return "Collect fresh rows; the report says how many each claim needs."


def _margin(claim: Claim) -> str:
    """A margin in the unit of its metric; of a fraction in percentage points."""
    unit = registry.get("metrics", claim.metric).unit
    if unit != "fraction":
        return f"{claim.margin:g}" + ("" if unit == claim.metric else f" {unit}")
    points = 100 * claim.margin
    return f"{points:g} percentage point" + ("" if points == 1 else "s")


def _failed(facts: Facts) -> Conclusion:
    first = next((t for t in facts.certificate.order if t.verdict != "held"), None)
    verdict = first.verdict if first is not None else "undecided"
    title = first.title if first is not None else "the first candidate"
    reason = facts.certificate.reason
    if verdict == "broken":
        return Conclusion(
            "nothing_better",
            f"Nothing is better than your original: {title} loses more than you allow ({reason}).",
            "Allow a larger drop, or recover quality by another technique. The sealed rows are "
            "spent, so the next run needs fresh ones.",
            "",
        )
    if verdict == "withheld":
        return Conclusion(
            "undecided",
            f"Nothing was certified, and no more may be told: {reason}.",
            "Change the model or search on, and run again on the same rows for the next look; or "
            "show everything and retire the rows with `jettison reveal`.",
            "",
        )
    return Conclusion(
        "undecided",
        f"It could not be decided whether {title} keeps the quality that you ask for ({reason}).",
        "Collect the rows that the report names for each claim; those that were opened are spent.",
        "",
    )


def _nothing_better(facts: Facts) -> str:
    if not facts.trials:
        return "Nothing can be tried on this model here; the report says why for each technique."
    if facts.finalists:
        first = max(facts.finalists, key=lambda f: _value(facts.cost, f))
        gain = _gain_words(facts.cost, first.claim.get(facts.cost + GAIN, OVERALL))
        end = "which this machine can't tell from no difference"
        if first.cost_verdict == "slower":
            end = "so it is worse"
        return (
            f"Nothing beat your original in {facts.cost}: of {facts.trials} recipes the nearest, "
            f"{first.trial.recipe}, is {gain}, {end}."
        )
    return f"Nothing beat your original: none of {facts.trials} recipes is better in {facts.cost}."


def _value(cost: str, finalist: Finalist) -> float:
    gain = finalist.claim.get(cost + GAIN, OVERALL)
    return gain.value or 0.0 if gain is not None else 0.0


def _gain_words(cost: str, gain: Estimate | None) -> str:
    """«1.61x better in latency_ms (95 % interval 1.58 to 1.64, 5 launches)»."""
    if gain is None or gain.value is None:
        return f"not measured in {cost}"
    words = "faster" if cost.endswith(("_ms", "_s")) else f"lower in {cost}"
    if cost == FILES:
        words = "smaller"
    if gain.low is None or gain.high is None or gain.low == gain.high:
        return f"{gain.value:.2f}x {words}"
    return (
        f"{gain.value:.2f}x {words} (95 % interval {gain.low:.2f} to {gain.high:.2f}, "
        f"{gain.n} launches)"
    )
