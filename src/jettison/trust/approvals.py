"""Sign-off of a bundle by a named person: signed lines in a file beside it, chained as a trail is.

The bundle itself does not change: its name is the digest of its manifest, and that is what is
signed. The file `NAME.approvals.jsonl` lies beside the folder `NAME` and goes where the bundle goes;
`NAME.approvals.md`, which card and report lead to, says the same for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jettison.domain.certificate import Certificate
from jettison.domain.files import exclusive_lock, write_atomically
from jettison.domain.record import from_json
from jettison.errors import CheckFailed, UsageError
from jettison.reporting.approval_sheet import Word, render_sheet, standing
from jettison.trust import bundle_layout as layout
from jettison.trust.audit import AUDIT, Event, Trail, read_trail
from jettison.trust.signing import Signer

APPROVED, WITHDRAWN = "approved", "approval_withdrawn"


def approvals_path(bundle: Path) -> Path:
    """The file of approvals of the bundle that lies in a folder."""
    folder = bundle.resolve()
    return folder.with_name(f"{folder.name}.approvals.jsonl")


def sheet_path(bundle: Path) -> Path:
    """The sheet of approvals for people, beside the signed lines."""
    return approvals_path(bundle).with_suffix(".md")


def words_about(events: Sequence[Event], digest: str) -> tuple[Word, ...]:
    """What signed lines say about one bundle."""
    return tuple(
        Word(
            name=event.who,
            key=event.key,
            time=event.time,
            status=str(event.facts.get("status", "")),
            reason=str(event.facts.get("reason", "")),
            approves=event.kind == APPROVED,
        )
        for event in events
        if event.facts.get("bundle") == digest and event.key
    )


def approval_problems(bundle: Path, digest: str) -> tuple[list[str], list[str]]:
    """Checks the approvals beside a bundle and their sheet; checks, and what is wrong.

    Args:
        bundle: its folder.
        digest: its name.
    """
    path, sheet = approvals_path(bundle), sheet_path(bundle)
    if not path.exists():
        lost = [f"{sheet.name} tells of approvals, but {path.name} is not there"]
        return [], lost if sheet.exists() else []
    try:
        events = read_trail(path)
    except CheckFailed as error:
        return [], [str(error)]
    unsigned = [event.number for event in events if not event.key]
    if unsigned:
        return [], [f"line {unsigned[0]} of {path.name} is not signed, so it approves nothing"]
    names = {str(event.facts.get("bundle")) for event in events} | {digest}
    about = {n: render_sheet(n, path.name, words_about(events, n)) for n in names}
    shown = sheet.read_text(encoding="utf-8", errors="replace") if sheet.exists() else about[digest]
    if shown not in about.values():
        return [], [
            f"{sheet.name} does not say what the signed lines of {path.name} say: delete it, and the next "
            "`jettison approve` writes it again"
        ]
    other = "" if shown == about[digest] else f" ({sheet.name} is about another bundle)"
    kept = standing(words_about(events, digest))
    named = ", ".join(f"{word.name} (key {word.key[:12]})" for word in kept)
    return [f"approvals beside it are whole; that stand: {named or 'none'}{other}"], []


def approve(
    bundle: Path, name: str, signer: Signer, reason: str = "", *, uncertified: bool = False
) -> Event:
    """Signs off the bundle in a folder, after checking that its files are those of its manifest.

    Args:
        bundle: its folder.
        name: of the person who approves.
        signer: their key.
        reason: what the decision rests on, for the reader.
        uncertified: approve a bundle whose certificate does not say `certified`.

    Raises:
        CheckFailed: if the bundle or the file of approvals was changed.
        UsageError: without a plain name, if the bundle is uncertified, or nothing can be written.
    """
    manifest = layout.read_manifest(bundle)
    problems = layout.differences(bundle, manifest)
    if problems:
        raise CheckFailed(f"{bundle} is not what it says, so nobody can approve it: {problems}")
    status = from_json(Certificate, (bundle / layout.CERTIFICATE).read_bytes()).status
    if status != "certified" and not uncertified:
        raise UsageError(
            f"the certificate of {bundle} says `{status}`; who approves it all the same says so "
            "with --allow-uncertified"
        )
    inside = read_trail(bundle / AUDIT)
    facts = {
        "bundle": manifest.digest,
        "status": status,
        "trail": inside[-1].digest if inside else "",
        "reason": reason,
    }
    return _write(bundle, Trail(approvals_path(bundle), _named(name), signer), APPROVED, facts)


def withdraw(bundle: Path, name: str, signer: Signer, reason: str = "") -> Event:
    """Takes the approval by a key back; the earlier line stays.

    Raises:
        UsageError: if this key has not approved this bundle, or nothing can be written.
        CheckFailed: if the file of approvals was changed.
    """
    digest = layout.read_manifest(bundle).digest
    if not approvals(bundle, digest, [signer.public]):
        raise UsageError(
            f"the key {signer.public[:12]} has not approved the bundle {digest[:12]} in {bundle}; "
            "there is nothing to take back"
        )
    facts = {"bundle": digest, "reason": reason}
    return _write(bundle, Trail(approvals_path(bundle), _named(name), signer), WITHDRAWN, facts)


def approvals(bundle: Path, digest: str, keys: Sequence[str]) -> tuple[Event, ...]:
    """The approvals of a bundle that stand: of each key the last word counts.

    Args:
        bundle: its folder.
        digest: its name; approvals of another bundle that lay here don't count.
        keys: public keys, 64 hexadecimal characters, whose word counts.

    Raises:
        CheckFailed: if the file of approvals was changed.
    """
    last: dict[str, Event] = {}
    for event in read_trail(approvals_path(bundle)):
        if event.facts.get("bundle") == digest and event.key in keys and event.key:
            last[event.key] = event
    return tuple(event for event in last.values() if event.kind == APPROVED)


def require_approval(bundle: Path, digest: str, keys: Sequence[str]) -> None:
    """Refuses a bundle that none of some keys has approved.

    Raises:
        CheckFailed: if there is no standing approval, or the file of approvals was changed.
    """
    if not approvals(bundle, digest, keys):
        listed = ", ".join(key[:12] for key in keys)
        raise CheckFailed(
            f"the bundle {digest[:12]} in {bundle} is not approved by any of the keys asked for "
            f"({listed}; looked in {approvals_path(bundle)}); one of their holders runs: "
            f"jettison approve {bundle} --name NAME --key KEY"
        )


def _named(name: str) -> str:
    if not name.strip():
        raise UsageError("an approval needs the name of a person: --name 'Ada Lovelace'")
    if not name.strip().isprintable():
        raise UsageError(
            f"the name {name.strip()!r} holds characters that can't be printed, such as a line end; "
            "give a plain name"
        )
    return name.strip()


def _write(bundle: Path, trail: Trail, kind: str, facts: dict[str, str]) -> Event:
    try:
        with exclusive_lock(trail.path, f"another approval of {bundle} is being written"):
            event = trail.append(kind, facts)
            words = words_about(read_trail(trail.path), facts["bundle"])
            sheet = render_sheet(facts["bundle"], trail.path.name, words)
            write_atomically(sheet_path(bundle), sheet)
            return event
    except OSError as error:
        raise UsageError(
            f"{trail.path} can't be written ({error}); make the folder of the bundle writable"
        ) from error
