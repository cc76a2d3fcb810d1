"""An audit trail as a story: one sentence in plain words for each line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jettison.trust.audit import Event

SHORT = 12
"""Hexadecimal digits of a digest that are shown; the file holds all of them."""

Facts = Mapping[str, Any]


def story(events: Sequence[Event]) -> Iterator[str]:
    """Gives one sentence for each event, with its time, who acted, and whether it is signed.

    What an event holds is shown with escapes in place of line ends and control characters, so
    that no reason or title can look like a line of its own or steer the terminal.
    """
    for event in events:
        tell = _SENTENCES.get(event.kind, _other)
        mark = f" [signed {event.key[:SHORT]}]" if event.key else ""
        time, who, facts = (plain(told) for told in (event.time, event.who, event.facts))
        yield f"{event.number:>4}  {time}  {who} {tell(facts)}{mark}"


def plain(told: Any) -> Any:
    """The same with every character that can't be printed as its escape."""
    if isinstance(told, str):
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in told)
    if isinstance(told, Mapping):
        return {plain(name): plain(value) for name, value in told.items()}
    return [plain(one) for one in told] if isinstance(told, list | tuple) else told


def _started(facts: Facts) -> str:
    basis = f", lawful basis {facts['lawful_basis']}" if facts.get("lawful_basis") else ""
    purpose = f", for the purpose «{facts['purpose']}»{basis}" if facts.get("purpose") else basis
    return (
        f"started a run on the model {facts.get('model')} with configuration "
        f"{_short(facts.get('configuration'))}{purpose} (jettison {facts.get('jettison')}, "
        f"machine {facts.get('machine')})"
    )


def _prepared(facts: Facts) -> str:
    rows = facts.get("rows", {})
    counts = ", ".join(f"{count:,} for {use}" for use, count in rows.items() if count)
    refused = facts.get("refused", [])
    reasons = "".join(f"\n        {name}: {reason}" for name, reason in refused)
    return (
        f"loaded the model {_short(facts.get('model'))} and the data {_short(facts.get('data'))} "
        f"({counts or 'no'} rows); routes that may be tried: "
        f"{len(facts.get('routes', []))}; refused: {len(refused)}{reasons}"
    )


def _required(facts: Facts) -> str:
    asked = "; ".join(
        f"{r['metric']} may drop by at most {r['max_drop']:g} ({r['max_drop_group']:g} in a group, "
        f"confidence {r['confidence']:g})"
        for r in facts.get("requirements", [])
    )
    return f"fixed what must hold: {asked or 'nothing'}"


def _trial(facts: Facts) -> str:
    why = f": {facts['reason']}" if facts.get("reason") else ""
    did = "took over from the run before" if facts.get("stored") else "tried"
    return f"{did} {facts.get('number')}: {facts.get('title')} ({facts.get('state')}{why})"


def _searched(facts: Facts) -> str:
    return (
        f"ended the search after {facts.get('trials')} trials because {facts.get('ended')}; "
        f"{len(facts.get('front', []))} are on the front"
    )


def _shortlisted(facts: Facts) -> str:
    order = facts.get("order", [])
    listed = "".join(f"\n        {i}. {o['title']} ({o['cost']})" for i, o in enumerate(order, 1))
    may = "the seal may open" if facts.get("seal_may_open") else "the seal stays closed"
    return f"fixed the order of testing, {len(order)} candidates; {may}{listed}"


def _looked(facts: Facts) -> str:
    did = "took up the look of the run before at" if facts.get("taken_up") else "opened"
    return (
        f"{did} the sealed rows {_short(facts.get('data'))}: look {facts.get('number')}, entry "
        f"{_short(facts.get('entry'))} of {facts.get('ledger')}, error rate {facts.get('alpha')}"
    )


def _judged(facts: Facts) -> str:
    reason = f" ({facts['reason']})" if facts.get("reason") else ""
    verdicts = "".join(f"\n        {title}: {v}" for _, title, v in facts.get("verdicts", []))
    return (
        f"wrote the certificate {_short(facts.get('certificate'))}: {facts.get('status')}{reason}"
        f"{verdicts}"
    )


def _concluded(facts: Facts) -> str:
    return f"concluded ({facts.get('outcome')}): {facts.get('answer')}"


def _emitted(facts: Facts) -> str:
    return f"wrote the bundle {_short(facts.get('bundle'))} ({facts.get('status')})"


def _approved(facts: Facts) -> str:
    reason = f": {facts['reason']}" if facts.get("reason") else ""
    return f"approved the bundle {_short(facts.get('bundle'))} ({facts.get('status')}){reason}"


def _withdrawn(facts: Facts) -> str:
    reason = f": {facts['reason']}" if facts.get("reason") else ""
    return f"took back the approval of the bundle {_short(facts.get('bundle'))}{reason}"


def _forgotten(facts: Facts) -> str:
    return f"removed {facts.get('rows')} row(s) from {', '.join(facts.get('removed', [])) or '-'}"


def _other(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(facts.items()))


def _short(digest: Any) -> str:
    return str(digest)[:SHORT] if digest else "-"


_SENTENCES: Mapping[str, Callable[[Facts], str]] = {
    "run_started": _started,
    "prepared": _prepared,
    "required": _required,
    "trial": _trial,
    "searched": _searched,
    "shortlisted": _shortlisted,
    "looked": _looked,
    "judged": _judged,
    "concluded": _concluded,
    "emitted": _emitted,
    "approved": _approved,
    "approval_withdrawn": _withdrawn,
    "forgotten": _forgotten,
}
