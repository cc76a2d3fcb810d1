"""The data file of claims, and what one claim and one measured case of it are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from jettison.errors import UsageError

Verdict = Literal[
    "holds here", "holds only when", "does not hold here", "not decided here", "cannot be run here"
]
CaseVerdict = Literal["holds", "does not hold", "not decided", "cannot be run"]


@dataclass(frozen=True, slots=True)
class Case:
    """One condition under which a claim is measured.

    Attributes:
        condition: in words, so that "holds only when ..." reads as a sentence.
        experiment: name of the function that measures it.
        settings: what that function takes.
    """

    condition: str
    experiment: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that is commonly said, in a form that can be measured.

    Attributes:
        id: stable name.
        phrase: as it is said.
        metric: what is measured; unit: of it.
        threshold: the claim holds where the metric is at least this (or at most).
        at_least: which of the two.
        cases: conditions.
        why: the reason behind what is usually found, in plain words.
    """

    id: str
    phrase: str
    metric: str
    unit: str
    threshold: float
    at_least: bool
    cases: tuple[Case, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What an experiment measured.

    Attributes:
        value, low, high: with a 95 % interval; the ends equal the value where it is exact.
        n: launches, rows or repetitions behind it.
        counted: what n counts.
        note: anything that a reader must know.
        noisy: whether others used the machine meanwhile; then nothing is decided.
    """

    value: float
    low: float
    high: float
    n: int
    counted: str
    note: str = ""
    noisy: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One case as it came out here.

    Attributes:
        condition: of the case.
        verdict: against the threshold.
        reading: `None` where it can't be run; `note` then says why.
    """

    condition: str
    verdict: CaseVerdict
    reading: Reading | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A claim and what became of it on this machine."""

    claim: Claim
    verdict: Verdict
    found: tuple[Found, ...]


def load_claims() -> tuple[Claim, ...]:
    """Reads the data file that ships with the package."""
    text = resources.files("jettison.claims").joinpath("claims.toml").read_text("utf-8")
    return tuple(_claim(table) for table in tomllib.loads(text)["claim"])


def chosen(claims: tuple[Claim, ...], ids: tuple[str, ...]) -> tuple[Claim, ...]:
    """The claims with these ids, or all where none is named.

    Raises:
        UsageError: for an id that does not exist.
    """
    known = {claim.id: claim for claim in claims}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise UsageError(f"no claim `{unknown[0]}`; there are: {', '.join(known)}")
    return tuple(known[name] for name in ids) or claims


def judge_case(claim: Claim, reading: Reading) -> CaseVerdict:
    """A case holds, or does not, only where its whole interval is on one side."""
    if reading.noisy:
        return "not decided"
    if claim.at_least:
        inside, outside = reading.low >= claim.threshold, reading.high < claim.threshold
    else:
        inside, outside = reading.high <= claim.threshold, reading.low > claim.threshold
    return "holds" if inside else "does not hold" if outside else "not decided"


def answer(claim: Claim, found: tuple[Found, ...]) -> Answer:
    """Sums up the cases of a claim: what can't be run here counts for nothing."""
    ran = {one.verdict for one in found if one.verdict != "cannot be run"}
    verdict: Verdict
    if not ran:
        verdict = "cannot be run here"
    elif ran == {"holds"}:
        verdict = "holds here"
    elif "holds" in ran:
        verdict = "holds only when"
    elif ran == {"does not hold"}:
        verdict = "does not hold here"
    else:
        verdict = "not decided here"
    return Answer(claim, verdict, found)


def _claim(table: Mapping[str, Any]) -> Claim:
    at_least = "at_least" in table
    return Claim(
        table["id"],
        table["phrase"],
        table["metric"],
        table["unit"],
        float(table["at_least" if at_least else "at_most"]),
        at_least,
        tuple(Case(c["condition"], c["experiment"], c.get("settings", {})) for c in table["case"]),
        table["why"],
    )
