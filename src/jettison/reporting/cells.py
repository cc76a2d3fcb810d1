"""The words of each cell of the comparison table, the same in terminal, page and card."""

from __future__ import annotations

from jettison.domain.certificate import Claim
from jettison.domain.run import RunRecord
from jettison.reporting.comparison import Row
from jettison.reporting.findings import Gain, QualityChange, the_cost, unit_of
from jettison.reporting.quantities import (
    MISSING,
    bytes_text,
    change,
    interval,
    is_time,
    margin_text,
    plain_name,
    seconds_text,
    times,
)

RANKING_ONLY = "ranking only, not quoted as a claim"
NOISY = "the machine was too busy for a claim"


def gain_heading(record: RunRecord) -> str:
    """The heading of the gain: «faster» where the cost is a time."""
    cost = the_cost(record)
    return "faster" if is_time(cost) else f"less {plain_name(cost)}"


def gain_words(record: RunRecord, gain: Gain) -> str:
    """The gain in words; a loss is told as a loss («1.80× slower»), and no claim in brackets."""
    value = gain.estimate.value
    if value is None or value <= 0:
        return MISSING
    cost = the_cost(record)
    worse = "slower" if is_time(cost) else f"more {plain_name(cost)}"
    text = f"{times(value)} {gain_heading(record)}" if value >= 1 else f"{times(1 / value)} {worse}"
    return text if gain.tier == "claim" and gain.estimate.state == "ok" else f"({text})"


def gain_cell(gain: Gain | None) -> str:
    """The measured gain; what is no claim (ranking, or a noisy machine) stands in brackets."""
    if gain is None:
        return MISSING
    text = times(gain.estimate.value)
    return text if gain.tier == "claim" and gain.estimate.state == "ok" else f"({text})"


def gain_note(gain: Gain | None) -> str:
    """What stands below a gain: interval and n, or why it is no claim."""
    if gain is None:
        return ""
    if gain.tier == "ranking":
        return RANKING_ONLY
    shown = interval(gain.estimate)
    launches = "launch" if gain.estimate.n == 1 else "launches"
    note = f"{shown}, n = {gain.estimate.n} {launches}" if shown and shown != "exact" else shown
    return f"{NOISY}; {note}" if gain.estimate.state == "noisy" else note


def size_cell(row: Row) -> str:
    """The size of the saved files against the original's."""
    return MISSING if row.size_ratio is None else f"{times(row.size_ratio)}"


def size_note(row: Row) -> str:
    """The size itself."""
    return "" if row.size_bytes is None else bytes_text(row.size_bytes)


def quality_cell(quality: QualityChange | None) -> str:
    """The change of quality."""
    return MISSING if quality is None else change(quality.value, quality.unit)


def quality_note(quality: QualityChange | None) -> str:
    """What the change rests on: sealed rows with the bound, or selection rows."""
    if quality is None:
        return ""
    if quality.rows == "selection":
        return f"selection rows, no claim, n = {quality.n:,}"
    worst = "" if quality.worst is None else f"at worst {change(quality.worst, quality.unit)}, "
    return f"{worst}sealed rows, n = {quality.n:,}"


def cost_cell(row: Row) -> str:
    """What it took to get."""
    return seconds_text(row.seconds)


def verdict_cell(row: Row) -> str:
    """The verdict, and how many trials it stands for."""
    more = f" (best of {row.tried} trials)" if row.tried > 1 else ""
    return row.standing.words + more


def claim_change(record: RunRecord, claim: Claim) -> str:
    """The measured change of a claim; positive is better."""
    if claim.estimate is None:
        return MISSING
    return change(0.0 - claim.estimate, unit_of(record, claim.metric))


def claim_worst(record: RunRecord, claim: Claim) -> str:
    """The largest drop that the rows can't exclude: the certifiable tolerance."""
    if claim.bound is None:
        return MISSING
    return change(0.0 - claim.bound, unit_of(record, claim.metric))


def claim_margin(record: RunRecord, claim: Claim) -> str:
    """The largest drop allowed; none for a metric that is only reported."""
    if claim.only_shown:
        return MISSING
    return margin_text(claim.margin, unit_of(record, claim.metric))


def claim_rows(claim: Claim) -> str:
    """How many more rows would decide; a dash when nothing is open."""
    return f"about {claim.rows_needed:,}" if claim.rows_needed else MISSING


def claim_words(claim: Claim) -> str:
    """The verdict of a claim; whether it gates."""
    if claim.only_shown:
        return f"shown only (grade {claim.grade})"
    return claim.verdict if claim.gates else f"{claim.verdict}, does not gate"
