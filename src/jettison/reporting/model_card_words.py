"""The sentences of a card: what is certified, what was done to the model, what threatens it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jettison.domain.certificate import Claim
from jettison.domain.measurement import OVERALL
from jettison.domain.recipe import Change, Step
from jettison.domain.run import RunRecord, Trial
from jettison.reporting import cells, markdown
from jettison.reporting.findings import gain_of, the_cost, unit_of
from jettison.reporting.model_card_sources import Sources, claims_with_places, pointer
from jettison.reporting.quantities import change, margin_text, plain_name, sentence

NOT_STATED = "Not stated by the owner."
GOVERNANCE = {
    "purpose": "Purpose",
    "lawful_basis": "Lawful basis",
    "consent": "Column that tells consent",
    "consent_statement": "How consent was given",
    "allowed_uses": "Allowed uses",
}
"""Keys of `data` that say why rows may be used -> how the card calls them."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence and the mark of its numbers; the mark may be empty."""

    text: str
    mark: str = ""


def headline(record: RunRecord, trial: Trial | None, sources: Sources) -> Marked:
    """The gain in the cost, as it was claimed."""
    gain = gain_of(record, trial, the_cost(record)) if trial is not None else None
    # In brackets beside a badge, a figure that is no claim would be read as one.
    if trial is None or gain is None or gain.tier != "claim" or gain.estimate.state != "ok":
        return Marked("")
    name = plain_name(the_cost(record)).capitalize()
    words = f"{name}: {cells.gain_words(record, gain)} than the original ({cells.gain_note(gain)})."
    measured = record.claims[trial.recipe.digest].estimates
    where = pointer("claims", trial.recipe.digest, "estimates", measured.index(gain.estimate))
    return Marked(words, sources.run("G", "gain", where))


def promises(record: RunRecord, sources: Sources) -> list[Marked]:
    """The held claims in words."""
    return [
        Marked(_promise(record, claim), sources.claim(claim, place))
        for claim, place in claims_with_places(record)
        if claim.verdict == "held"
    ]


def open_claims(record: RunRecord, sources: Sources) -> list[Marked]:
    """What is not certified, and why."""
    return [
        Marked(
            f"{_who(claim)}, {claim.metric}: {claim.verdict}. {sentence(claim.reason)}",
            sources.claim(claim, place),
        )
        for claim, place in claims_with_places(record)
        if claim.verdict != "held"
    ]


def _who(claim: Claim) -> str:
    return "Overall" if claim.group == OVERALL else claim.group


def _promise(record: RunRecord, claim: Claim) -> str:
    unit = unit_of(record, claim.metric)
    moved = "" if claim.estimate is None else f" changed by {change(0.0 - claim.estimate, unit)};"
    worst = ""
    if claim.bound is not None:
        worst = f" a change below {change(0.0 - claim.bound, unit)} is excluded;"
    return (
        f"{_who(claim)}: {claim.metric}{moved}{worst} a drop of {margin_text(claim.margin, unit)} "
        f"was allowed (n = {claim.n:,}, grade {claim.grade})."
    )


def recipe(record: RunRecord, trial: Trial | None, sources: Sources) -> list[Marked]:
    """What was done, step by step, in words."""
    if trial is None:
        return []
    at = record.trials.index(trial)
    log = trial.candidate.log if trial.candidate is not None else ()
    told: list[Marked] = []
    for place, step in enumerate(trial.recipe.steps):
        mark = sources.run(
            "R",
            f"step {place + 1}, {step.name}",
            pointer("trials", at, "recipe", "steps", place),
            *([pointer("trials", at, "candidate", "log")] if len(log) > 0 else []),
        )
        # One change a step is the rule; where a step told several, all follow the last step.
        done = _told(log[place]) if len(log) == len(trial.recipe.steps) else ()
        told.append(Marked(_step(step, done), mark))
    if len(log) != len(trial.recipe.steps):
        mark = sources.run("R", "changes", pointer("trials", at, "candidate", "log"))
        told += [Marked(sentence(text), mark) for item in log for text in _told(item)]
    mark = sources.run("R", "runtime", pointer("trials", at, "recipe", "runtime"))
    return [*told, Marked(f"It runs on {_step(trial.recipe.runtime, ())}", mark)]


def _told(item: Change) -> tuple[str, ...]:
    return (item.what, item.warning) if item.warning else (item.what,)


def _step(step: Step, done: tuple[str, ...]) -> str:
    """A step in words, with its settings.

    >>> _step(Step("int8_dynamic", {"per_channel": True}), ("12 operators to int8",))
    'int8 dynamic: 12 operators to int8. Settings: per channel yes.'
    """
    name = step.name.replace("_", " ")
    text = f"{name}: {' '.join(map(sentence, done))}" if done else f"{name}."
    if not step.settings:
        return text
    shown = ", ".join(
        f"{key.replace('_', ' ')} {_plain(value)}" for key, value in sorted(step.settings.items())
    )
    return f"{text} Settings: {shown}."


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value != "" else "none"


def threats(record: RunRecord) -> Iterator[str]:
    """What would make the claims untrue in this very run, beside the general assumptions."""
    if record.certificate.ledger is None:
        yield "Nothing was certified, so nothing is claimed about quality."
        return
    data = record.configuration.data
    if data.unit:
        yield f"Rows were kept together by `{data.unit}`; each of its values counts as one unit."
    else:
        yield (
            "No unit was declared: every row counts as independent. If several rows come from one "
            "person, document or machine, false certificates are more frequent than stated."
        )
    if not data.target:
        yield (
            "There were no labels: what is certified is agreement with the original. Where the "
            "original is wrong, this model is wrong too."
        )
    if not data.groups:
        yield "No groups were named: harm to a part of the people or cases can hide in the whole."


def owner(text: str) -> markdown.Markdown:
    """The owner's words as a quotation, or that there are none."""
    if not text.strip():
        return markdown.Markdown(NOT_STATED)
    parts = [part for part in text.split("\n\n") if part.strip()]
    quoted = "\n>\n".join(f"> {markdown.escaped(part)}" for part in parts)
    return markdown.Markdown(f"In the owner's words:\n\n{quoted}")


def governance(record: RunRecord) -> list[tuple[str, str]]:
    """Why the rows may be used, as far as the configuration says so."""
    data = record.configuration.data
    found = []
    for key, words in GOVERNANCE.items():
        value = getattr(data, key, "")
        shown = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value or "")
        found.append((words, shown or "not stated"))
    return found
