"""Answers to claims as a table for the terminal and as a page whose answers are folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rich.table import Table
from rich.text import Text

from jettison.claims.catalogue import Answer, Found
from jettison.domain.device import Device


def table(answers: Sequence[Answer]) -> Table:
    """One line for each case; the verdict of a claim stands beside its phrase."""
    shown = Table(box=None, pad_edge=False, show_edge=False)
    for name in ("claim", "here", "condition", "measured"):
        shown.add_column(name, overflow="fold")
    for answer in answers:
        first = (answer.claim.phrase, answer.verdict)
        for place, found in enumerate(answer.found):
            shown.add_row(
                *(first if place == 0 else ("", "")), found.condition, Text(words(found, answer))
            )
    return shown


def words(found: Found, answer: Answer) -> str:
    """What was measured in one case, with interval and n, and its verdict."""
    reading = found.reading
    if reading is None:
        return f"cannot be run here: {found.note}"
    exact = reading.low == reading.value == reading.high
    interval = "" if exact else f" [{reading.low:.3g}, {reading.high:.3g}]"
    noisy = ", others used the machine" if reading.noisy else ""
    return (
        f"{reading.value:.3g}{interval} ({reading.n:,} {reading.counted}{noisy}): {found.verdict}, "
        f"{'at least' if answer.claim.at_least else 'at most'} {answer.claim.threshold:g} was said"
    )


def page(
    answers: Sequence[Answer],
    device: Device,
    date: str,
    apart: Mapping[str, tuple[Device, str]] = MappingProxyType({}),
) -> str:
    """The page of claims in Markdown; each answer is folded, so that a reader can guess first.

    Args:
        answers: in the order of the page.
        device: that they were measured on.
        date: when.
        apart: device and date of claims that were measured elsewhere, by id.
    """
    parts = [
        "# Claims, measured",
        "Written by `make docs` from `benchmarks/results/claims.json`; `jettison claims` measures "
        "them on your machine. Guess first, then open the answer. A claim *holds* in a case where "
        "the whole 95 % interval of what was measured is on the right side of the threshold.",
        "",
        f"Measured on {_machine(device)}; {date}. Networks with random weights for speed and size "
        "(`jettison/claims/networks.py`), a small network trained on scikit-learn's digits for "
        "quality: another model can answer otherwise.",
    ]
    for answer in answers:
        parts += ["", *_entry(answer, apart.get(answer.claim.id))]
    return "\n".join(parts) + "\n"


def sentence(answer: Answer) -> str:
    """The verdict as a sentence; `holds only when` names the conditions."""
    holding = [one.condition for one in answer.found if one.verdict == "holds"]
    if answer.verdict == "holds only when":
        return f"holds only when: {'; '.join(holding)}"
    return answer.verdict


def _machine(device: Device) -> str:
    return f"{device.cpu}, {device.cores} cores, {', '.join(device.features)}"


def _entry(answer: Answer, apart: tuple[Device, str] | None = None) -> list[str]:
    claim = answer.claim
    side = "at least" if claim.at_least else "at most"
    lines = [
        f"## {claim.phrase}",
        f"Measured as: {claim.metric}. The claim needs {side} {claim.threshold:g}.",
        "",
        "<details><summary>The answer</summary>",
        "",
        f"**{sentence(answer)}**",
        "",
        "| condition | measured |",
        "|---|---|",
    ]
    lines += [f"| {found.condition} | {words(found, answer)} |" for found in answer.found]
    if apart is not None:
        lines += ["", f"Measured apart from the others: on {_machine(apart[0])}; {apart[1]}."]
    return [*lines, "", claim.why, "", f"Again: `jettison claims {claim.id}`", "", "</details>"]
