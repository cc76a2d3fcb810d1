"""Commands about who decided what: audit, approve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    folder: Annotated[Path, typer.Argument(help="Folder of a run or of a bundle.")],
    key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key that must have signed every line; repeatable."),
    ] = None,
) -> None:
    """Tell who decided what, and when, as a story; check the chain and its signatures."""
    from jettison.trust.audit_check import audit as audited
    from jettison.trust.audit_story import story
    from jettison.trust.signing import read_public_key

    found = audited(folder, [read_public_key(path) for path in key or ()])
    for line in (*story(found.events), *story(found.approvals)):
        print(line)
    for line in found.lines:
        print(f"ok   {line}")
    for line in found.notes:
        print(f"note {line}")


def approve(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    name: Annotated[str, typer.Option(help="Name of the person who signs off.")],
    key: Annotated[Path, typer.Option(help="Their Ed25519 private key.")],
    reason: Annotated[str, typer.Option(help="What the decision rests on.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take it back.")] = False,
    allow_uncertified: Annotated[
        bool, typer.Option("--allow-uncertified", help="Approve what no certificate covers.")
    ] = False,
) -> None:
    """Sign off a bundle: a named person, signed, beside the bundle."""
    from jettison.trust import approvals
    from jettison.trust.audit_story import story
    from jettison.trust.signing import read_signer

    signer = read_signer(key)
    if withdraw:
        event = approvals.withdraw(bundle, name, signer, reason)
    else:
        event = approvals.approve(bundle, name, signer, reason, uncertified=allow_uncertified)
    for line in story([event]):
        print(line)
    print(f"written to {approvals.approvals_path(bundle)}")
    print(f"for people to read: {approvals.sheet_path(bundle)}")
