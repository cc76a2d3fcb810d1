"""Rows that wait for a further declared look: nothing may be fitted or selected on them meanwhile.

Another seed would deal the sealed rows of an unfinished plan of looks to fitting and selection, and
the next look would certify what was chosen on its own rows. Rows are known as in the ledger: by
their encoded inputs and by their raw values, so another encoder hides none that has enough of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jettison.domain.files import write_atomically
from jettison.errors import SealRefused
from jettison.trust.chain import Entry
from jettison.trust.ledger import Ledger
from jettison.trust.row_sets import pack, row_set, unpack

OPEN_ROWS = "open_rows.npy"


def keep_open_rows(folder: Path, digests: Sequence[str], *more: Sequence[str]) -> None:
    """Writes which rows fitting and selection read.

    Args:
        folder: of the selection rows, in which it lies.
        digests: SHA-256 of each row's encoded inputs.
        more: further digests of the same rows, in the same order: of raw values.
    """
    write_atomically(folder / OPEN_ROWS, pack(row_set(digests, *more)))


def check_open_rows(folder: Path, ledger: Ledger) -> None:
    """Refuses fitting and selection rows that wait for a further look.

    Raises:
        SealRefused: if a row of an unfinished plan of looks is among them.
        CheckFailed: if the ledger or the rows of a look can't be read.
    """
    entries = ledger.entries()
    planned = {e.digest: _looks(e) for e in entries if e.kind == "look" and _looks(e) > 1}
    if not planned:
        return
    for look in ledger.looks_at(unpack((folder / OPEN_ROWS).read_bytes())):
        if look.digest not in planned:
            continue
        life = {one.digest for one in ledger.looks_sharing(look.digest)}
        over = any(
            e.look in life and (e.kind == "revealed" or e.facts.get("status") == "certified")
            for e in entries
        )
        if not over and len(life) < planned[look.digest]:
            raise SealRefused(
                f"some fitting or selection rows wait for further declared looks (line "
                f"{look.number} of {ledger.path}, by the run in {look.facts.get('folder')}): use "
                "the same files and the same `seed` as that run; where the model reads rows in "
                "another way, also name a `unit`, or one file per use, because rows are dealt by what "
                "the model reads. Or give the rows up with `jettison reveal`"
            )


def _looks(entry: Entry) -> int:
    return len(str(entry.facts.get("plan", "")).split())
