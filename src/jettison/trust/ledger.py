"""The ledger: which sealed rows were looked at, when, by which run. Charged before a seal opens.

It lies in the user's state directory, shared by all projects, and is keyed by the rows
themselves: by their encoded inputs and by their raw values. One look spends a row for good:
killing, copying, renaming, encoding otherwise or topping up gives no second. The rows of each look
lie beside the chain of lines, as sorted prefixes of their digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jettison.domain.files import exclusive_lock, write_atomically
from jettison.domain.local_key import state_folder
from jettison.errors import Busy, CheckFailed, SealRefused, UsageError
from jettison.trust.chain import HEAD, LINES, Entry, EntryKind, Facts, append_entry, read_entries
from jettison.trust.looks import ONE_LOOK, number_of, told
from jettison.trust.row_sets import RowSet, common_rows, pack, row_set_digest, unpack

WAIT_SECONDS = 60.0


def default_folder() -> Path:
    """The ledger of this user: `$XDG_STATE_HOME/jettison/ledger`, or under `~/.local/state`.

    Raises:
        UsageError: if the user has no home folder.
    """
    return state_folder() / "ledger"


@dataclass(frozen=True, slots=True)
class Charge:
    """What a look is about, fixed before it.

    Attributes:
        configuration, data, order: digests of the configuration, the sealed set and the order of
            testing.
        alpha: error rate that the look spends.
        rows: the sealed rows.
        folder: of the run, to tell a person later which run it was.
        plan: each look's share of alpha, as declared before the first look at these rows.
        number: of the look in its plan, as `next_look` gave it.
    """

    configuration: str
    data: str
    order: str
    alpha: float
    rows: RowSet
    folder: str = ""
    plan: tuple[float, ...] = ONE_LOOK
    number: int = 1


@dataclass(frozen=True, slots=True)
class Look:
    """The right to open one seal once. Only `Ledger.charge` gives one that the ledger accepts.

    Attributes:
        ledger: folder of the ledger that charged it.
        entry: digest of the charge.
        number: running number of the look at these rows, from 1.
        alpha: error rate that it may spend: its share of the charge's.
        data: digest of the sealed set that it was charged for.
        key: secret whose SHA-256 stands in the ledger; it is never written down.
        looks: how many were declared; with more than 1 a failed look shows only «no».
    """

    ledger: str
    entry: str
    number: int
    alpha: float
    data: str
    key: str = field(repr=False)
    looks: int = 1


@dataclass(frozen=True, slots=True)
class Spent:
    """Rows that an earlier look has used up."""

    overlap: int
    asked: int
    entry: Entry

    def sentence(self, ledger: Path) -> str:
        """Says who spent them, when, and what to do."""
        facts = self.entry.facts
        return (
            f"{self.overlap:,} of the {self.asked:,} sealed rows were spent by an earlier look: "
            f"line {self.entry.number} of {ledger}, {self.entry.time}, on {facts.get('rows', 0):,} "
            f"rows, by the run in {facts.get('folder')} with configuration "
            f"{str(facts.get('configuration', ''))[:12]}. "
            "A row can be certified on once; give `certification` rows that no run has used "
            "(the spent ones may serve for selection)"
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger in a folder. Every method reads and checks the whole chain first."""

    folder: Path

    @classmethod
    def at(cls, folder: str | Path = "") -> Ledger:
        """The ledger in a folder given, or the user's own if it is empty."""
        return cls(Path(folder).absolute() if str(folder) else default_folder())

    @property
    def path(self) -> Path:
        """The file of lines."""
        return self.folder / LINES

    @property
    def exists(self) -> bool:
        """Whether anything was ever written here."""
        return self.path.exists() or (self.folder / HEAD).exists()

    def entries(self) -> tuple[Entry, ...]:
        """Reads all lines.

        Raises:
            CheckFailed: if the chain is broken or a line can't be read; names the line.
            Busy: if another run keeps the ledger locked.
        """
        if not self.exists:
            return ()
        with self._locked():
            return read_entries(self.folder)

    def spent(self, rows: RowSet) -> Spent | None:
        """Finds the earliest look that shares a row with these; `None` if none does.

        Raises:
            CheckFailed: if the ledger or the rows of an earlier look can't be read.
        """
        if not self.exists:
            return None
        with self._locked():
            return self._spent(rows, read_entries(self.folder))

    def next_look(self, rows: RowSet, alpha: float, plan: tuple[float, ...] = ONE_LOOK) -> int:
        """Counts the next look at these rows under a plan, from 1.

        Raises:
            SealRefused: if there is none; says why.
            CheckFailed: if the ledger or the rows of an earlier look can't be read.
        """
        if not self.exists:
            return 1
        with self._locked():
            return self._next(rows, alpha, plan, read_entries(self.folder))

    def charge(self, charge: Charge) -> Look:
        """Spends a look at the rows, and gives the right to open their seal once.

        On disk before it returns. Two processes can't charge the same look.

        Raises:
            SealRefused: if the rows were spent before; says by which run, when, how many.
            CheckFailed: if the ledger can't be read.
            UsageError: if it can't be written.
        """
        if not charge.rows.size:
            raise SealRefused("there are no sealed rows to look at")
        with self._locked():
            entries = read_entries(self.folder)
            number = self._next(charge.rows, charge.alpha, charge.plan, entries)
            if number != charge.number:
                raise SealRefused(
                    "another run looked at these rows in the meantime; run again, and this one "
                    f"will be look {number} of {len(charge.plan)}"
                )
            key, alpha = secrets.token_hex(32), charge.alpha * charge.plan[number - 1]
            facts: Facts = {
                "configuration": charge.configuration,
                "data": charge.data,
                "order": charge.order,
                "alpha": alpha,
                "budget": charge.alpha,
                "plan": told(charge.plan),
                "number": number,
                "rows": len(charge.rows),
                "folder": charge.folder,
                "row_file": self._save_rows(charge.rows),
                "key": hashlib.sha256(key.encode()).hexdigest(),
            }
            entry = self._append(entries, "look", "", facts)
        looks = len(charge.plan)
        return Look(str(self.folder), entry.digest, number, alpha, charge.data, key, looks)

    def redeem(self, look: Look, rows: RowSet) -> None:
        """Writes down that a look opens its seal now; a look does so once.

        Raises:
            SealRefused: if this ledger didn't charge the look, or not for these rows, or if it
                has opened its seal already.
        """
        with self._locked():
            entries = read_entries(self.folder)
            charged = next(
                (e for e in entries if e.kind == "look" and e.digest == look.entry), None
            )
            key = hashlib.sha256(look.key.encode()).hexdigest()
            if charged is None or charged.facts.get("key") != key:
                raise SealRefused(f"the ledger {self.path} has not charged this look")
            mine = (charged.facts.get("data"), charged.facts.get("row_file"))
            if mine != (look.data, row_set_digest(rows)):
                raise SealRefused(
                    f"the look of line {charged.number} of {self.path} was charged for other rows"
                )
            if any(e.kind == "opened" and e.look == look.entry for e in entries):
                raise SealRefused(
                    f"the look of line {charged.number} of {self.path} has opened its seal already"
                )
            self._append(entries, "opened", look.entry, {})

    def record(
        self, kind: Literal["asked", "certificate", "bundle"], look: str, digest: str, status: str
    ) -> Entry:
        """Writes down what came of a look (or a bundle that rests on none: `look` empty).

        Raises:
            CheckFailed: if the ledger can't be read, or holds no such look.
            UsageError: if it can't be written.
        """
        with self._locked():
            entries = read_entries(self.folder)
            if look and not any(e.kind == "look" and e.digest == look for e in entries):
                raise CheckFailed(f"the ledger {self.path} holds no look {look[:12]}")
            return self._append(entries, kind, look, {"digest": digest, "status": status})

    def keep_key(self, look: Look, key: bytes) -> None:
        """Keeps the key to the withheld outcomes of a look until they are revealed.

        Raises:
            UsageError: if it can't be written.
        """
        path = self._key_path(look.entry)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, key)
            path.chmod(0o600)
        except OSError as error:
            raise self._unwritable(error) from error

    def reveal(self, entry: str) -> tuple[Entry, bytes | None]:
        """Retires the rows of a look for good, then gives the key to its withheld outcomes.

        Args:
            entry: digest of the look.

        Returns:
            The look's line, and the key; `None` where nothing was withheld.

        Raises:
            CheckFailed: if the ledger can't be read, or holds no such look.
            UsageError: if it can't be written.
        """
        with self._locked():
            entries = read_entries(self.folder)
            look = next((e for e in entries if e.kind == "look" and e.digest == entry), None)
            if look is None:
                raise CheckFailed(f"the ledger {self.path} holds no look {entry[:12]}")
            if not any(e.kind == "revealed" and e.look == entry for e in entries):
                self._append(entries, "revealed", entry, {})
        path = self._key_path(entry)
        return look, path.read_bytes() if path.exists() else None

    def looks_sharing(self, entry: str) -> tuple[Entry, ...]:
        """All looks that share a row with one, itself included, in order.

        Raises:
            CheckFailed: if the ledger can't be read, or holds no such look.
        """
        mine = self.find("look", entry)
        if mine is None:
            raise CheckFailed(f"the ledger {self.path} holds no look {entry[:12]}")
        return self.looks_at(self._rows_of(mine))

    def looks_at(self, rows: RowSet) -> tuple[Entry, ...]:
        """All looks that share a row with these, in order.

        Raises:
            CheckFailed: if the ledger or the rows of a look can't be read.
        """
        if not self.exists:
            return ()
        with self._locked():
            looks = [e for e in read_entries(self.folder) if e.kind == "look"]
            return tuple(e for e in looks if common_rows(rows, self._rows_of(e)))

    def _key_path(self, entry: str) -> Path:
        return self.folder / "withheld" / f"{entry}.key"

    def find(self, kind: EntryKind, digest: str) -> Entry | None:
        """Finds what was recorded about a look (by its digest), a certificate or a bundle."""
        for entry in self.entries():
            named = entry.digest if kind == "look" else entry.facts.get("digest")
            if entry.kind == kind and named == digest:
                return entry
        return None

    def _next(
        self, rows: RowSet, alpha: float, plan: tuple[float, ...], entries: Sequence[Entry]
    ) -> int:
        looks = [e for e in entries if e.kind == "look"]
        history = [e for e in looks if common_rows(rows, self._rows_of(e))]
        if not history:
            return 1
        if len(plan) == 1 and len(str(history[0].facts.get("plan", "")).split()) <= 1:
            spent = self._spent(rows, entries)
            raise SealRefused("" if spent is None else spent.sentence(self.path))
        others = [e for e in entries if e.kind != "look"]
        return number_of(rows, history, others, self._rows_of, (told(plan), alpha))

    def _spent(self, rows: RowSet, entries: Sequence[Entry]) -> Spent | None:
        for entry in entries:
            if entry.kind == "look":
                overlap = common_rows(rows, self._rows_of(entry))
                if overlap:
                    return Spent(overlap, len(rows), entry)
        return None

    def _rows_of(self, entry: Entry) -> RowSet:
        path = self.folder / "rows" / f"{entry.facts.get('row_file')}.npy"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CheckFailed(
                f"the rows of line {entry.number} of {self.path} can't be read ({error}); without "
                "them nothing can tell which rows are spent: restore the file from a backup"
            ) from error
        if hashlib.sha256(data).hexdigest() != entry.facts.get("row_file"):
            raise CheckFailed(
                f"{path} was changed: it is not what line {entry.number} of {self.path} recorded"
            )
        return unpack(data)

    def _save_rows(self, rows: RowSet) -> str:
        name = row_set_digest(rows)
        path = self.folder / "rows" / f"{name}.npy"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, pack(rows))
        except OSError as error:
            raise self._unwritable(error) from error
        return name

    def _append(self, entries: Sequence[Entry], kind: EntryKind, look: str, facts: Facts) -> Entry:
        try:
            return append_entry(self.folder, entries, kind, look, facts)
        except OSError as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Waits for its turn: a charge of other rows in another project takes a moment."""
        deadline = time.monotonic() + WAIT_SECONDS
        with contextlib.ExitStack() as held:
            while True:
                lock = exclusive_lock(
                    self.folder / "lock", f"another run is using the ledger {self.folder}"
                )
                try:
                    held.enter_context(lock)
                    break
                except Busy:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                except OSError as error:
                    raise self._unwritable(error) from error
            yield

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"the ledger in {self.folder} can't be written: {error}; make the folder writable, or "
            "name another with `ledger` in jettison.toml"
        )
