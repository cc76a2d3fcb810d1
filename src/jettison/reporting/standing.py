"""The verdict of one row of the comparison, in words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from jettison.domain.certificate import Claim, Tested
from jettison.domain.run import RunRecord, Trial
from jettison.reporting.findings import Gain, QualityChange, tested_of, the_cost, unit_of
from jettison.reporting.quantities import change, is_time, margin_text, rows_text, sentence

Kind = Literal["ships", "good", "bad", "open", "neutral", "error"]
"""How a verdict is coloured; the words alone always say the same."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A verdict.

    Attributes:
        words: the verdict in a few words («ships, certified»).
        detail: one sentence that says why; may be empty.
        kind: for colour and sorting.
        rank: the place in the table, small first.
    """

    words: str
    detail: str
    kind: Kind
    rank: int


def standing_of(
    record: RunRecord, trial: Trial, gain: Gain | None, quality: QualityChange | None
) -> Standing:
    """Says what became of one recipe, the most binding fact first, and what its steps warned of."""
    standing = _fate(record, trial, gain, quality)
    log = trial.candidate.log if trial.candidate is not None else ()
    warnings = [change.warning for change in log if change.warning]
    if standing.kind in {"ships", "good"} or not warnings:
        return standing
    detail = " ".join(sentence(text) for text in (standing.detail, *warnings) if text)
    return dataclasses.replace(standing, detail=detail)


def _fate(
    record: RunRecord, trial: Trial, gain: Gain | None, quality: QualityChange | None
) -> Standing:
    digest = trial.recipe.digest
    if digest == record.shipped:
        return _shipped(record)
    if trial.state == "failed":
        return Standing("failed", trial.reason, "error", 9)
    if trial.state == "stopped":
        return Standing("stopped early", trial.reason, "neutral", 8)
    tested = tested_of(record, digest)
    if tested is not None:
        return _tested(record, tested, gain)
    return _untested(record, gain, quality)


def _shipped(record: RunRecord) -> Standing:
    if record.certificate.status == "certified":
        open_groups = [
            c.group for c in record.certificate.claims if c.verdict != "held" and not c.only_shown
        ]
        detail = f"Not certified: {', '.join(open_groups)}." if open_groups else ""
        return Standing("ships, certified", detail, "ships", 0)
    return Standing("ships, NOT certified", sentence(record.certificate.reason), "open", 0)


def _tested(record: RunRecord, tested: Tested, gain: Gain | None) -> Standing:
    if tested.verdict == "held":
        return _held(record, gain)
    if tested.verdict == "broken":
        worst = next((c for c in tested.claims if c.gates and c.verdict == "broken"), None)
        detail = _broken(record, worst) if worst is not None else ""
        return Standing("broken: loses too much", detail, "bad", 3)
    if tested.verdict == "undecided":
        lacking = max(
            (c for c in tested.claims if c.gates and c.verdict == "undecided"),
            key=lambda claim: claim.rows_needed,
            default=None,
        )
        return Standing("undecided", _undecided(lacking), "open", 2)
    if tested.verdict == "withheld":
        detail = "The look said no for the whole order; `jettison reveal` tells which, and why."
        return Standing("withheld", detail, "open", 2)
    if record.certificate.status == "uncertified":
        # The order was made, and no sealed row was opened.
        return Standing("not tested", sentence(record.certificate.reason), "neutral", 4)
    detail = "Testing stopped before it: an earlier one in the fixed order was not held."
    return Standing("not tested", detail, "neutral", 4)


def _held(record: RunRecord, gain: Gain | None) -> Standing:
    if record.shipped:
        return Standing("certified, not chosen", "Another one that was held ships.", "good", 1)
    if gain is not None and gain.estimate.state == "noisy":
        return Standing("quality held, cost noisy", "The machine was too busy.", "open", 1)
    better = _comparatives(record)[1]
    return Standing(
        f"quality held, not shown to be {better}",
        "Its interval does not exclude the original by the noise floor.",
        "neutral",
        1,
    )


def _broken(record: RunRecord, claim: Claim) -> str:
    unit = unit_of(record, claim.metric)
    fallen = "" if claim.estimate is None else f" by {change(-claim.estimate, unit)}"
    return (
        f"{claim.metric} of {claim.group} changed{fallen}; "
        f"a drop of {margin_text(claim.margin, unit)} is allowed (n = {claim.n:,})."
    )


def _undecided(claim: Claim | None) -> str:
    if claim is None:
        return ""
    needed = f"; about {rows_text(claim.rows_needed)} would decide it" if claim.rows_needed else ""
    reason = f" {sentence(claim.reason)}" if claim.reason else ""
    return f"{claim.group} has {rows_text(claim.n)}{needed}.{reason}"


def _untested(record: RunRecord, gain: Gain | None, quality: QualityChange | None) -> Standing:
    """A complete trial that was not on the shortlist."""
    if gain is None or gain.estimate.value is None:
        return Standing("not measured", "Its cost was not measured.", "neutral", 7)
    estimate = gain.estimate
    worse, better = _comparatives(record)
    basis = "" if gain.tier == "claim" else "By ranking figures only."
    high = estimate.high if estimate.high is not None else estimate.value
    low = estimate.low if estimate.low is not None else estimate.value
    if estimate.state == "noisy":
        return Standing("noisy", "The machine was too busy for a claim about cost.", "open", 5)
    if high is not None and high < 1.0 / (1.0 + record.noise_floor):
        return Standing(f"{worse} than the original", basis, "bad", 7)
    if low is not None and low <= 1.0 + record.noise_floor:
        return Standing(f"not shown to be {better}", basis, "neutral", 6)
    if quality is not None and _loses(quality):
        detail = f"{change(quality.value, quality.unit)} on {quality.n:,} selection rows."
        return Standing("loses too much quality", detail, "bad", 7)
    opened = record.certificate.status != "uncertified"
    detail = "It was not on the shortlist." if opened else sentence(record.certificate.reason)
    return Standing("not tested", detail, "neutral", 4)


def _loses(quality: QualityChange) -> bool:
    return (
        quality.value is not None
        and quality.margin is not None
        and -quality.value >= quality.margin
    )


def _comparatives(record: RunRecord) -> tuple[str, str]:
    return ("slower", "faster") if is_time(the_cost(record)) else ("costlier", "cheaper")
