"""Shows what failed looks withheld, and retires their rows for good."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jettison.domain.certificate import Certificate
from jettison.domain.files import write_atomically
from jettison.domain.record import from_json, to_json
from jettison.errors import CheckFailed, UsageError
from jettison.trust.chain import Entry
from jettison.trust.judging import conclude
from jettison.trust.ledger import Ledger
from jettison.trust.withholding import FOLDER, unveil_outcomes, withheld_path

REVEALED = "revealed"


@dataclass(frozen=True, slots=True)
class Revealed:
    """What one look had found.

    Attributes:
        number: of the look in its plan.
        time: when it was charged.
        certificate: in full, with the claims of every candidate that was tested; `None` where it
            can't be shown.
        reason: why not; empty otherwise.
        outcomes: file with every row's part; `None` where there is none.
    """

    number: int
    time: str
    certificate: Certificate | None
    reason: str
    outcomes: Path | None


def reveal(folder: Path, ledger: str | Path = "") -> tuple[Revealed, ...]:
    """Retires the rows of a certification, then shows every look at them.

    Args:
        folder: of the certification (`RUN/work/certify`), with withheld outcomes.
        ledger: folder of the ledger; empty for the user's own.

    Returns:
        All looks that share a row with the one in this folder, in order; those of other folders
        too, where they are still there.

    Raises:
        UsageError: if nothing was withheld here.
        CheckFailed: if the ledger doesn't know the look, or can't be read.
    """
    names = sorted(path.stem for path in (folder / FOLDER).glob("*.outcomes"))
    if not names:
        raise UsageError(
            f"nothing is withheld in {folder}: `jettison reveal` is for a run with `looks` above 1 "
            "whose certification said no"
        )
    book = Ledger.at(ledger)
    entries = {e.digest: e for name in names for e in book.looks_sharing(name)}
    ordered = sorted(entries.values(), key=lambda entry: entry.number)
    return tuple(_shown(book, entry, folder) for entry in ordered)


def _shown(book: Ledger, entry: Entry, folder: Path) -> Revealed:
    _, key = book.reveal(entry.digest)
    number = int(entry.facts.get("number", 1))
    if key is None:
        return Revealed(number, entry.time, None, _nothing_withheld(book, entry), None)
    places = (folder, Path(str(entry.facts.get("folder", ""))))
    path = next((p for p in _paths(places, entry) if p.exists()), None)
    if path is None:
        why = f"its outcomes are gone from {places[1]}"
        return Revealed(number, entry.time, None, why, None)
    # Other rows that were certified from this folder have a look of the same number.
    target = folder / REVEALED / f"look-{number}-{entry.digest[:12]}.npz"
    outcomes = unveil_outcomes(path, key, target)
    told = _told(path.with_suffix(".json"))
    conclusion = conclude(outcomes, {tested.recipe: tested.title for tested in told.order})
    certificate = dataclasses.replace(told, reason=conclusion.reason, order=conclusion.tested)
    write_atomically(target.with_suffix(".json"), to_json(certificate, indent=2) + "\n")
    return Revealed(number, entry.time, certificate, "", target)


def _nothing_withheld(book: Ledger, entry: Entry) -> str:
    """Says why a look left nothing to reveal."""
    told = [e for e in book.entries() if e.look == entry.digest and e.kind == "certificate"]
    if any(e.facts.get("status") == "certified" for e in told):
        return "it certified a model; see its bundle"
    return "it was cut short, or is still running, so it left nothing"


def _paths(places: tuple[Path, ...], entry: Entry) -> Iterator[Path]:
    for place in places:
        yield withheld_path(place, entry.digest)


def _told(path: Path) -> Certificate:
    try:
        return from_json(Certificate, path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckFailed(f"what the look told, {path}, can't be read: {error}") from error
