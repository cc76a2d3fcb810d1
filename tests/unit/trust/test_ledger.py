"""The ledger under attack: no way to look at a sealed row twice, no change that goes unseen."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jettison.errors import CheckFailed, SealRefused, UsageError
from jettison.trust import chain
from jettison.trust.chain import HEAD, LINES
from jettison.trust.ledger import Charge, Ledger, default_folder
from jettison.trust.row_sets import common_rows, row_set


def digests(start: int, stop: int) -> list[str]:
    """Digests of made-up rows, numbered."""
    return [hashlib.sha256(f"row {i}".encode()).hexdigest() for i in range(start, stop)]


def charge_of(start: int, stop: int) -> Charge:
    rows = row_set(digests(start, stop))
    return Charge("c" * 64, "d" * 64, "o" * 64, 0.05, rows, "/projects/reviews")


CHARGE = """
import hashlib, sys, time
from jettison.errors import SealRefused
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.row_sets import row_set

folder, start, stop, after = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
names = [hashlib.sha256(f"row {i}".encode()).hexdigest() for i in range(start, stop)]
try:
    Ledger.at(folder).charge(Charge("c" * 64, "d" * 64, "o" * 64, 0.05, row_set(names)))
    print("charged", flush=True)
except SealRefused:
    print("refused", flush=True)
if after == "hang":
    time.sleep(600)
"""


CRASH_BEFORE_HEAD = """
import os, sys
from jettison.trust import chain
from jettison.trust.ledger import Ledger

append = chain.append_line

def crash(path, line):
    append(path, line)
    os._exit(9)

chain.append_line = crash
Ledger.at(sys.argv[1]).record("bundle", "", "1" * 64, "uncertified")
"""


def start_charging(folder: Path, start: int, stop: int, after: str = "") -> subprocess.Popen[str]:
    """Charges rows in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", CHARGE, str(folder), str(start), str(stop), after],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.at(tmp_path / "ledger")


def test_rows_are_charged_once(ledger: Ledger) -> None:
    """The second look at the same rows is refused, and says who spent them, when, how many."""
    ledger.charge(charge_of(0, 50))
    with pytest.raises(SealRefused) as refused:
        ledger.charge(charge_of(0, 50))
    message = str(refused.value)
    assert "50 of the 50 sealed rows" in message
    assert "line 1 of" in message
    assert ledger.entries()[0].time in message
    assert "the run in /projects/reviews with configuration cccccccccccc" in message
    assert refused.value.exit_code == 4


def test_one_common_row_is_enough(ledger: Ledger) -> None:
    """A set that shares a single row with spent ones is refused: topping up resets nothing."""
    ledger.charge(charge_of(0, 50))
    with pytest.raises(SealRefused, match="1 of the 50 sealed rows"):
        ledger.charge(charge_of(49, 99))
    assert len(ledger.entries()) == 1


def test_other_rows_are_free(ledger: Ledger) -> None:
    """Rows that nobody spent can be charged, and the refusal names the look that overlaps."""
    ledger.charge(charge_of(0, 50))
    ledger.charge(charge_of(50, 90))
    with pytest.raises(SealRefused, match="line 2 of"):
        ledger.charge(charge_of(80, 130))


def test_order_and_repeats_do_not_hide_rows(ledger: Ledger) -> None:
    """Shuffled and repeated rows are the same rows."""
    ledger.charge(charge_of(0, 20))
    shuffled = row_set([*reversed(digests(0, 20)), *digests(0, 20)])
    with pytest.raises(SealRefused, match="20 of the 20"):
        ledger.charge(Charge("", "", "", 0.05, shuffled))


def test_nothing_to_look_at(ledger: Ledger) -> None:
    """An empty set of rows is refused."""
    with pytest.raises(SealRefused, match="no sealed rows"):
        ledger.charge(charge_of(0, 0))


def test_digests_must_be_whole() -> None:
    """A shortened digest would make two rows one."""
    with pytest.raises(ValueError, match="64 hexadecimal"):
        row_set(["abc"])


def test_prefixes_that_end_in_zero_bytes_are_kept_apart() -> None:
    """NumPy drops trailing zero bytes when it shows text; comparing must not."""
    rows = row_set(["00" * 32, "ab" + "00" * 31, "ab" + "00" * 14 + "01" + "00" * 16])
    assert rows.size == 3
    assert common_rows(row_set(["00" * 32]), rows) == 1
    assert common_rows(row_set(["ab" + "00" * 31]), rows) == 1
    assert common_rows(row_set(["cd" + "00" * 31]), rows) == 0


def test_a_copied_project_sees_the_same_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger belongs to the user, not to the project folder that is copied or renamed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for place in ("project", "copy of project"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Ledger.at().charge(charge_of(0, 10))
    monkeypatch.chdir(tmp_path / "copy of project")
    with pytest.raises(SealRefused):
        Ledger.at().charge(charge_of(0, 10))
    assert (tmp_path / "state" / "jettison" / "ledger" / LINES).exists()


def test_a_relative_state_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """`XDG_STATE_HOME` must be absolute; a relative one would follow the current folder."""
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert default_folder() == Path.home() / ".local" / "state" / "jettison" / "ledger"


def test_killed_mid_look_is_charged(ledger: Ledger) -> None:
    """A process that is killed right after the charge has spent the rows."""
    process = start_charging(ledger.folder, 0, 100, "hang")
    assert process.stdout is not None
    assert process.stdout.readline() == "charged\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with pytest.raises(SealRefused, match="100 of the 100"):
        ledger.charge(charge_of(0, 100))


def test_two_processes_cannot_spend_the_same_rows(ledger: Ledger) -> None:
    """Of several processes that charge overlapping rows at once, exactly one may."""
    racing = [start_charging(ledger.folder, 10 * i, 10 * i + 100) for i in range(4)]
    answers = sorted(process.communicate()[0] for process in racing)
    assert answers == ["charged\n", "refused\n", "refused\n", "refused\n"]
    assert [entry.kind for entry in ledger.entries()] == ["look"]


def test_processes_with_other_rows_wait_for_their_turn(ledger: Ledger) -> None:
    """Charges of disjoint rows at the same moment all succeed, and the chain stays whole."""
    racing = [start_charging(ledger.folder, 100 * i, 100 * i + 100) for i in range(4)]
    assert [process.communicate()[0] for process in racing] == ["charged\n"] * 4
    assert [entry.number for entry in ledger.entries()] == [1, 2, 3, 4]


@pytest.fixture
def written(ledger: Ledger) -> Ledger:
    """A ledger of four lines."""
    look = ledger.charge(charge_of(0, 10))
    ledger.redeem(look, row_set(digests(0, 10)))
    ledger.record("certificate", look.entry, "1" * 64, "certified")
    ledger.record("bundle", look.entry, "2" * 64, "certified")
    return ledger


def test_the_chain_holds_what_came_of_a_look(written: Ledger) -> None:
    """Charge, opening, certificate and bundle stand in order, each naming the look."""
    entries = written.entries()
    assert [entry.kind for entry in entries] == ["look", "opened", "certificate", "bundle"]
    assert {entry.look for entry in entries[1:]} == {entries[0].digest}
    assert [e.previous for e in entries[1:]] == [e.digest for e in entries[:-1]]
    found = written.find("bundle", "2" * 64)
    assert found == entries[3]
    assert written.find("bundle", "3" * 64) is None


@pytest.mark.parametrize("line", [1, 2, 3, 4])
def test_a_changed_line_is_named(written: Ledger, line: int) -> None:
    """Any change to a line breaks the chain, and the line is named."""
    lines = written.path.read_bytes().split(b"\n")
    lines[line - 1] = lines[line - 1].replace(b'"time":"20', b'"time":"21')
    written.path.write_bytes(b"\n".join(lines))
    with pytest.raises(CheckFailed, match=f"line {line} of"):
        written.entries()


def test_every_flipped_bit_is_seen(written: Ledger) -> None:
    """No bit of the file can be flipped unseen; a sample of every seventh byte."""
    whole = written.path.read_bytes()
    for place in range(0, len(whole), 7):
        written.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckFailed, match="line"):
            written.entries()


@pytest.mark.parametrize("removed", [1, 2, 3, 4])
def test_a_removed_line_is_seen(written: Ledger, removed: int) -> None:
    """A line taken out breaks the chain; even the last one, because the head tells of it."""
    lines = written.path.read_bytes().splitlines(keepends=True)
    del lines[removed - 1]
    written.path.write_bytes(b"".join(lines))
    with pytest.raises(CheckFailed, match=f"line {removed} of"):
        written.charge(charge_of(500, 510))


def test_a_removed_file_is_seen(written: Ledger) -> None:
    """A ledger file that is gone while its head remains is no empty ledger."""
    written.path.unlink()
    with pytest.raises(CheckFailed, match="line 1 of"):
        written.charge(charge_of(0, 10))


def test_a_removed_head_is_seen(written: Ledger) -> None:
    """Without its head a longer file could have lost lines."""
    (written.folder / HEAD).unlink()
    with pytest.raises(CheckFailed, match=HEAD):
        written.entries()


def test_a_crash_before_the_head_is_written_loses_nothing(written: Ledger) -> None:
    """The file may be one line ahead of its head: the line counts."""
    earlier = written.entries()[2]
    head = {"entries": earlier.number, "digest": earlier.digest}
    (written.folder / HEAD).write_text(json.dumps(head))
    assert len(written.entries()) == 4
    # Nor does a second crash at the same point, after the next line.
    process = subprocess.run(
        [sys.executable, "-c", CRASH_BEFORE_HEAD, str(written.folder)], check=False
    )
    assert process.returncode == 9
    assert [entry.kind for entry in written.entries()][4:] == ["bundle"]


def test_an_incomplete_line_stops_everything(written: Ledger) -> None:
    """Half a line at the end (a crash while writing) is named, with what to do."""
    with open(written.path, "ab") as file:
        file.write(b'{"digest":"00')
    with pytest.raises(CheckFailed, match=r"line 5 of .* is incomplete.*delete that line"):
        written.charge(charge_of(500, 510))


def test_lost_rows_of_an_earlier_look_stop_everything(written: Ledger) -> None:
    """If it can't be known which rows are spent, none can be charged."""
    (path,) = (written.folder / "rows").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(CheckFailed, match="was changed"):
        written.charge(charge_of(500, 510))
    path.unlink()
    with pytest.raises(CheckFailed, match="line 1 of"):
        written.charge(charge_of(500, 510))


def test_a_full_disk_leaves_the_chain_whole(ledger: Ledger) -> None:
    """A line that does not fit is taken out again, and the look is not given."""
    ledger.charge(charge_of(0, 10))
    limit = ledger.path.stat().st_size + 40
    script = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from jettison.errors import UsageError\n"
        "from jettison.trust.ledger import Ledger\n"
        "try:\n"
        f"    Ledger.at({str(ledger.folder)!r}).record('bundle', '', '1' * 64, 'uncertified')\n"
        "except UsageError as error:\n"
        "    print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert "can't be written" in told
    assert len(ledger.entries()) == 1


def test_an_unusable_folder_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    """A ledger that can't be written stops the run before anything is opened."""
    (tmp_path / "ledger").write_text("a file")
    with pytest.raises(UsageError, match="name another with `ledger`"):
        Ledger.at(tmp_path / "ledger").charge(charge_of(0, 10))


def test_looks_cannot_be_made_by_hand(ledger: Ledger) -> None:
    """Only the token that `charge` gave opens: its key is not in the file."""
    rows = row_set(digests(0, 10))
    look = ledger.charge(charge_of(0, 10))
    entry = ledger.entries()[0]
    assert look.key not in ledger.path.read_text()
    assert look.key not in repr(look)
    for forged in (
        dataclasses.replace(look, key=str(entry.facts["key"])),
        dataclasses.replace(look, key=""),
        dataclasses.replace(look, entry="0" * 64),
    ):
        with pytest.raises(SealRefused, match="has not charged this look"):
            ledger.redeem(forged, rows)
    with pytest.raises(SealRefused, match="for other rows"):
        ledger.redeem(look, row_set(digests(0, 9)))
    ledger.redeem(look, rows)
    with pytest.raises(SealRefused, match="opened its seal already"):
        ledger.redeem(look, rows)


def test_a_result_needs_its_look(ledger: Ledger) -> None:
    """A certificate can't be recorded for a look that was never charged."""
    with pytest.raises(CheckFailed, match="holds no look"):
        ledger.record("certificate", "1" * 64, "2" * 64, "certified")


def test_reading_an_absent_ledger_writes_nothing(ledger: Ledger) -> None:
    """Planning and verifying leave no trace in a state folder that isn't there."""
    assert ledger.entries() == ()
    assert ledger.spent(np.array([], dtype="S16")) is None
    assert not ledger.folder.exists()


def test_a_row_is_known_by_any_of_its_digests(ledger: Ledger) -> None:
    """Rows with two digests count as rows, and are met by either, old entries of one included."""
    first, second = digests(0, 10), digests(100, 110)
    ledger.charge(Charge("c", "d" * 64, "o", 0.05, row_set(first, second)))
    for other in (first, second):
        spent = ledger.spent(row_set(digests(50, 55) + other[:3]))
        assert spent is not None
        assert (spent.overlap, spent.asked, spent.entry.facts["rows"]) == (3, 8, 10)
    ledger.charge(Charge("c", "e" * 64, "o", 0.05, row_set(digests(200, 205))))
    spent = ledger.spent(row_set(digests(300, 303), digests(203, 206)))
    assert spent is not None
    assert (spent.overlap, spent.asked) == (2, 3)


def test_each_row_has_as_many_digests() -> None:
    """Rows that lack a digest are a mistake of the caller."""
    with pytest.raises(ValueError, match="same number"):
        row_set(digests(0, 3), digests(0, 2))


def test_a_line_without_room_for_its_head_takes_no_effect(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up between the two refuses the look, so the rows must not be spent."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for spent in (0, 1):
        monkeypatch.setattr(chain, "write_atomically", full)
        with pytest.raises(UsageError, match="can't be written"):
            ledger.charge(charge_of(0, 10))
        monkeypatch.undo()
        assert len(ledger.entries()) == spent
        ledger.charge(charge_of(10 * spent + 10, 10 * spent + 20))
