"""Several declared looks at the same rows: what each may spend, who is refused, what stays shut."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jettison.errors import CheckFailed, SealRefused
from jettison.trust.ledger import Charge, Ledger, Look
from jettison.trust.looks import look_plan
from jettison.trust.row_sets import RowSet, row_set

PLAN = look_plan(3)
TOP_UP = look_plan(2, (0.2, 0.8))


def rows(start: int, stop: int) -> RowSet:
    """Made-up rows, numbered."""
    return row_set([hashlib.sha256(f"row {i}".encode()).hexdigest() for i in range(start, stop)])


def charge(number: int = 1, stop: int = 50, **changes: object) -> Charge:
    given = {"plan": PLAN, "rows": rows(0, stop), "alpha": 0.05, **changes}
    return Charge("c", "d", "o", number=number, **given)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.at(tmp_path / "ledger")


def fail(ledger: Ledger, look: Look) -> None:
    """Ends a look with «no»."""
    ledger.record("certificate", look.entry, "1" * 64, "failed")


def test_each_look_spends_its_share() -> None:
    """However many looks are declared, their shares add up to at most all of alpha."""
    for looks in (2, 5, 50):
        plan = look_plan(looks)
        assert sum(plan) < 1
        assert plan[1] == pytest.approx(6 / (4 * math.pi**2))
    assert look_plan(1) == (1.0,)
    for bad in ((0.5, 0.6), (0.5,), (1.2, -0.2)):
        with pytest.raises(ValueError, match="add up to at most 1"):
            look_plan(2, bad)


def test_the_declared_looks_and_no_more(ledger: Ledger) -> None:
    """Three looks at the same rows, each with less alpha; the fourth is refused."""
    spent = []
    for number in (1, 2, 3):
        assert ledger.next_look(rows(0, 50), 0.05, PLAN) == number
        look = ledger.charge(charge(number))
        assert (look.number, look.looks) == (number, 3)
        spent.append(look.alpha)
        fail(ledger, look)
    assert spent == [0.05 * share for share in PLAN]
    with pytest.raises(SealRefused, match="all 3 declared looks at these rows are used up"):
        ledger.charge(charge(4))


def test_a_plan_can_not_be_changed_after_the_first_look(ledger: Ledger) -> None:
    """More looks, other shares, another confidence, or one full look: all refused."""
    fail(ledger, ledger.charge(charge()))
    for plan in (look_plan(5), look_plan(3, (0.1, 0.1, 0.8)), look_plan(1)):
        with pytest.raises(SealRefused, match="declared 3 looks"):
            ledger.next_look(rows(0, 50), 0.05, plan)
    with pytest.raises(SealRefused, match="same `confidence`"):
        ledger.next_look(rows(0, 50), 0.2, PLAN)


def test_one_look_rows_can_not_become_many(ledger: Ledger) -> None:
    """Rows that were opened once at full alpha are spent, whatever is declared later."""
    ledger.charge(charge(plan=look_plan(1)))
    with pytest.raises(SealRefused, match="declared 1 looks"):
        ledger.charge(charge(2))


def test_overlap_counts_row_by_row(ledger: Ledger) -> None:
    """A later look must hold all earlier rows: neither fewer nor half others pass."""
    fail(ledger, ledger.charge(charge()))
    for some in (rows(0, 49), rows(49, 99), rows(1, 60)):
        with pytest.raises(SealRefused, match="must hold all rows of the earlier ones"):
            ledger.next_look(some, 0.05, PLAN)
    assert ledger.next_look(rows(50, 99), 0.05, PLAN) == 1


def test_a_declared_top_up_adds_rows(ledger: Ledger) -> None:
    """1,000 rows at .01, then 2,000 with the first among them at .04."""
    first = ledger.charge(charge(stop=1000, plan=TOP_UP))
    fail(ledger, first)
    second = ledger.charge(charge(2, stop=2000, plan=TOP_UP))
    assert (first.alpha, second.alpha) == pytest.approx((0.01, 0.04))


def test_two_sets_can_not_be_joined_for_a_third_look(ledger: Ledger) -> None:
    """Looks at rows that had none in common are two lives, and don't make one."""
    fail(ledger, ledger.charge(charge(stop=50)))
    fail(ledger, ledger.charge(charge(rows=rows(50, 99))))
    with pytest.raises(SealRefused, match="had none in common"):
        ledger.next_look(rows(0, 99), 0.05, PLAN)


def test_revealed_rows_are_retired(ledger: Ledger) -> None:
    """After `reveal`, and after anything was certified, no look is left."""
    look = ledger.charge(charge())
    fail(ledger, look)
    ledger.reveal(look.entry)
    with pytest.raises(SealRefused, match="were shown"):
        ledger.charge(charge(2))
    shipped = ledger.charge(charge(rows=rows(100, 150)))
    ledger.record("certificate", shipped.entry, "2" * 64, "certified")
    with pytest.raises(SealRefused, match="a model was certified on these rows"):
        ledger.charge(charge(2, rows=rows(100, 150)))


def test_a_key_is_given_only_for_retired_rows(ledger: Ledger) -> None:
    """`reveal` writes its line before it gives the key, twice gives one line, unknown is refused."""
    look = ledger.charge(charge())
    ledger.keep_key(look, b"k" * 32)
    for _ in range(2):
        assert ledger.reveal(look.entry)[1] == b"k" * 32
    assert [e.kind for e in ledger.entries()] == ["look", "revealed"]
    with pytest.raises(CheckFailed, match="holds no look"):
        ledger.reveal("0" * 64)


def test_a_number_that_another_run_took_is_refused(ledger: Ledger) -> None:
    """A run that planned look 2 can't spend the alpha of look 2 after another did."""
    fail(ledger, ledger.charge(charge()))
    ledger.charge(charge(2))
    with pytest.raises(SealRefused, match="another run looked at these rows in the meantime"):
        ledger.charge(charge(2))


CHARGE = """
import hashlib, json, sys, time
from jettison.errors import SealRefused
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.looks import look_plan
from jettison.trust.row_sets import row_set

names = [hashlib.sha256(f"row {i}".encode()).hexdigest() for i in range(50)]
ledger, number, plan = Ledger.at(sys.argv[1]), int(sys.argv[2]), look_plan(3)
try:
    charge = Charge("c", "d", "o", 0.05, row_set(names), "", plan, number)
    look = ledger.charge(charge)
    print(json.dumps([look.number, look.alpha]), flush=True)
except SealRefused:
    print("null", flush=True)
if sys.argv[3] == "hang":
    time.sleep(600)
"""


def start(folder: Path, number: int, after: str = "") -> subprocess.Popen[str]:
    """Charges a look in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", CHARGE, str(folder), str(number), after],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_concurrent_processes_can_not_spend_the_same_alpha(ledger: Ledger) -> None:
    """Of four processes that planned look 1 at once, one gets it; then one of four gets look 2."""
    for number in (1, 2):
        running = [start(ledger.folder, number) for _ in range(4)]
        answers = [json.loads(process.communicate()[0]) for process in running]
        got = [answer for answer in answers if answer is not None]
        assert got == [[number, 0.05 * PLAN[number - 1]]]


def test_a_look_that_was_killed_is_charged(ledger: Ledger) -> None:
    """After kill -9 in mid-look the next is look 2, with the smaller share."""
    process = start(ledger.folder, 1, "hang")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())[0] == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert ledger.next_look(rows(0, 50), 0.05, PLAN) == 2
