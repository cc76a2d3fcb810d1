"""Does an audit trail tell the same as the bundle that carries it? And who signed it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jettison.domain.record import digest
from jettison.domain.run import RunRecord
from jettison.errors import CheckFailed, UsageError
from jettison.trust import bundle_layout as layout
from jettison.trust.approvals import approvals_path
from jettison.trust.audit import AUDIT, Event, last_run, read_trail, signers_of


def trail_problems(path: Path, record: RunRecord) -> tuple[list[str], list[str]]:
    """Compares the last run of a trail with the record of the run; checks, and what differs."""
    try:
        events = read_trail(path)
    except CheckFailed as error:
        return [], [str(error)]
    run = last_run(events)
    certificate = record.certificate
    told = {kind: [e.facts for e in run if e.kind == kind] for kind in {e.kind for e in run}}
    position = certificate.ledger
    pairs: Mapping[str, tuple[Any, Any]] = {
        "configuration": (_last(told, "required", "configuration"), digest(record.configuration)),
        "trials": (
            [[f.get("recipe"), f.get("state")] for f in told.get("trial", [])],
            [[t.recipe.digest, t.state] for t in record.trials],
        ),
        "look": (
            _last(told, "looked", "entry"),
            position.entry if position is not None else None,
        ),
        "certificate": (_last(told, "judged", "certificate"), digest(certificate)),
        "outcome": (_last(told, "concluded", "outcome"), record.outcome),
        "shipped recipe": (_last(told, "concluded", "shipped"), record.shipped),
    }
    problems = [
        f"the audit trail tells of another {name} than the record of the run"
        for name, (trail, kept) in pairs.items()
        if trail != kept
    ]
    return [f"the audit trail of {len(events)} lines is whole, {_signed(events)}"], problems


@dataclass(frozen=True, slots=True)
class Audited:
    """What was found in a folder.

    Attributes:
        events: of the trail; approvals: of the bundle there, in order.
        lines: what was checked, in words; notes: what was found and does not count.
    """

    events: tuple[Event, ...]
    approvals: tuple[Event, ...]
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def audit(folder: Path, keys: Sequence[str] = ()) -> Audited:
    """Reads and checks the trail of a run folder or a bundle, with the approvals beside it.

    Args:
        folder: of the run or the bundle.
        keys: public keys; each line of the trail must be signed by one of them, and only their
            approvals count. None: any.

    Raises:
        UsageError: if there is no trail.
        CheckFailed: if chain, head or a signature is broken, a line is not signed by the keys asked
            for, there is none, an approval is unsigned, or the bundle holds another trail than its manifest says.
    """
    path = folder / AUDIT
    bundle = folder if (folder / layout.MANIFEST).is_file() else folder / "release"
    is_bundle = bundle == folder
    if not path.is_file():
        raise UsageError(
            f"there is no audit trail in {folder} ({AUDIT}); give the folder of a run or of a bundle"
        )
    lines: list[str] = []
    if is_bundle:
        problems = layout.differences(folder, layout.read_manifest(folder))
        if problems:
            raise CheckFailed(f"the bundle {folder} is not what it says: {'; '.join(problems)}")
        lines.append("the files of the bundle are those of its manifest")
    events = read_trail(path)
    lines.append(f"the trail of {len(events)} lines is whole, {_signed(events)}")
    if keys:
        if not events:
            raise CheckFailed(f"{path} holds no line, so none is signed by the keys given")
        others = [e.number for e in events if e.key not in keys]
        if others:
            raise CheckFailed(
                f"line {others[0]} of {path} ({len(others)} such) is not signed by any of the keys "
                f"given ({', '.join(key[:12] for key in keys)})"
            )
        lines.append("every line is signed by a key that was given")
    approved, checked, notes = _approvals(bundle, keys)
    return Audited(events, approved, (*lines, *checked), notes)


def _approvals(
    bundle: Path, keys: Sequence[str]
) -> tuple[tuple[Event, ...], tuple[str, ...], tuple[str, ...]]:
    """The lines about this bundle, what was checked of them, and what was found besides.

    Raises:
        CheckFailed: if the chain is broken, or a line is unsigned: nobody approves by that.
    """
    path = approvals_path(bundle)
    told = read_trail(path) if bundle.is_dir() else ()
    if not told:
        return (), (), ()
    unsigned = [event.number for event in told if not event.key]
    if unsigned:
        raise CheckFailed(f"line {unsigned[0]} of {path} is not signed, so it approves nothing")
    name = layout.read_manifest(bundle).digest
    ours = tuple(event for event in told if event.facts.get("bundle") == name)
    known = [event for event in ours if not keys or event.key in keys]
    checked, notes = [], []
    if known:
        checked.append(
            f"{len(known)} lines of approvals of this bundle are whole, {_signed(known)}"
        )
    for key in signers_of([event for event in ours if event not in known]):
        notes.append(
            f"an approval of this bundle is signed by {key[:12]}, not one of the keys given"
        )
    if len(told) > len(ours):
        notes.append(f"{len(told) - len(ours)} lines in {path.name} are about another bundle")
    return ours, tuple(checked), tuple(notes)


def _last(told: Mapping[str, Sequence[Mapping[str, Any]]], kind: str, name: str) -> Any:
    """A fact of the last event of a kind: a run that waits for labels concludes twice."""
    facts = told.get(kind)
    return facts[-1].get(name) if facts else None


def _signed(events: Sequence[Event]) -> str:
    keys = signers_of(events)
    named = [key[:12] for key in keys if key]
    if not named:
        return "and unsigned"
    some = "in part " if "" in keys else ""
    return f"and {some}signed by {', '.join(named)}"
