"""The short hold: only where recent arrivals promise a mate."""

from __future__ import annotations

import asyncio

import pytest

from jettison.serving.hold import FEWEST, PATIENCE, RECENT, Hold

BEGUN = 1000.0


def after(gaps: list[float], hold: float = 0.005, last: float = BEGUN) -> Hold:
    """A hold that has seen arrivals with these gaps, the last of them at `last`."""
    made = Hold(hold)
    instant = last - sum(gaps)
    made.arrived(instant)
    for gap in gaps:
        instant += gap
        made.arrived(instant)
    return made


def test_nothing_is_held_before_anything_is_known() -> None:
    """Too few gaps promise nothing."""
    assert after([0.001] * (FEWEST - 1)).patience(BEGUN, BEGUN) == 0
    assert after([0.001] * FEWEST).patience(BEGUN, BEGUN) > 0


def test_rare_arrivals_are_not_waited_for() -> None:
    """Where the usual gap is longer than the hold, a mate is not due within it."""
    assert after([0.02] * RECENT).patience(BEGUN, BEGUN) == 0
    assert after([0.0049] * RECENT).patience(BEGUN, BEGUN) == pytest.approx(0.005)


def test_bursts_with_a_pause_between_them_are_waited_for() -> None:
    """Callers that wait for their answers come together again, whatever a batch takes."""
    gaps = [0.1, 0.0002, 0.0001, 0.0003, 0.1, 0.0002, 0.0002, 0.0001]
    assert after(gaps, last=BEGUN - 0.1).patience(BEGUN, BEGUN) == pytest.approx(0.005)


def test_once_mates_have_come_the_next_is_waited_for_no_longer_than_usual() -> None:
    """A burst that is over ends the hold early; and nothing outlasts the hold."""
    held = after([0.0004] * RECENT, last=BEGUN + 0.001)
    assert held.patience(BEGUN + 0.001, BEGUN) == pytest.approx(PATIENCE * 0.0004, rel=1e-3)
    assert held.patience(BEGUN + 0.003, BEGUN) < 0
    late = after([0.0004] * RECENT, last=BEGUN + 0.0045)
    assert late.patience(BEGUN + 0.0045, BEGUN) == pytest.approx(0.0005, rel=1e-3)
    assert late.patience(BEGUN + 0.006, BEGUN) <= 0


def test_old_arrivals_are_forgotten() -> None:
    """Only the last gaps count, so a change of pace is followed."""
    assert after([0.0001] * 50 + [1.0] * RECENT).patience(BEGUN, BEGUN) == 0


def test_the_wait_ends_by_itself_by_an_arrival_and_by_a_full_batch() -> None:
    """Time, mates and a full batch each end the hold."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        full: list[bool] = []
        held = Hold(0.002)
        await held.wait(lambda: False)
        for _ in range(FEWEST + 1):
            held.arrived(loop.time())
        await held.wait(lambda: False)
        long = Hold(3600.0)
        for _ in range(FEWEST + 1):
            long.arrived(loop.time())
        await long.wait(lambda: True)
        waiting = asyncio.create_task(long.wait(lambda: bool(full)))
        await asyncio.sleep(0)
        assert not waiting.done()
        full.append(True)
        long.arrived(loop.time())
        await waiting

    asyncio.run(test())
