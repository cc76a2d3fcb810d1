"""Waiting for callers who come back: seen without waiting, bounded, given up soon."""

from __future__ import annotations

import asyncio
import functools
import itertools

import pytest

from jettison.serving.returning import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    WINDOW_SHARE,
    Returning,
)

BATCH = 0.08
WINDOW = WINDOW_SHARE * BATCH


def after(batches: int, callers: int, back: int, seconds: float = BATCH) -> tuple[Returning, float]:
    """Some batches, each followed by as many requests at once, and the instant of the last."""
    returning, now = Returning(), 100.0
    for _ in range(batches):
        returning.answered(callers, seconds, now)
        for place in range(back):
            returning.arrived(now + 1e-4 * place)
        now += seconds
    returning.answered(callers, seconds, now)
    return returning, now


def test_nobody_is_waited_for_before_anything_was_seen() -> None:
    """The first batches promise nothing."""
    returning, now = after(0, 8, 8)
    assert returning.due(now) == 0
    returning, now = after(1, 8, 8)
    assert returning.due(now) == 0


def test_callers_who_come_back_at_once_are_due_until_they_have_come() -> None:
    """As many as were answered, less those who are there, and none after the window."""
    returning, now = after(20, 8, 8)
    assert returning.due(now) == 8
    returning.arrived(now + 1e-4)
    assert returning.due(now + 1e-4) == 7
    assert returning.due(now + WINDOW) == 0


def test_arrivals_of_their_own_pace_are_not_waited_for() -> None:
    """One in eight within the window is what chance brings at a steady load."""
    returning, now = after(50, 8, 1)
    assert returning.due(now) == 0
    assert returning.share == pytest.approx(1 / 8, abs=0.01)


def test_a_caller_alone_waits_for_nobody() -> None:
    """Its own request is the one that was due."""
    returning, now = after(20, 1, 1)
    returning.arrived(now + 1e-4)
    assert returning.due(now + 1e-4) == 0


def test_callers_who_stop_coming_are_given_up_within_a_few_batches() -> None:
    """A change of load costs a few windows, each a tenth of a batch."""
    returning, now = after(50, 8, 8)
    held = 0
    while returning.due(now):
        held += 1
        now += BATCH
        returning.answered(8, BATCH, now)
    assert 1 <= held <= 4


@pytest.mark.parametrize("seconds", [1e-5, 0.9 * SHORTEST_SECONDS / WINDOW_SHARE])
def test_a_quick_model_never_waits(seconds: float) -> None:
    """Where a tenth of a batch is less than a timer can tell, nothing is noted or held."""
    returning, now = after(50, 8, 8, seconds)
    assert returning.due(now) == 0
    assert returning.share == 0


def test_a_slow_model_waits_no_longer_than_the_bound() -> None:
    """A batch of ten seconds does not make anybody wait for one."""
    returning, now = after(50, 8, 8, 10.0)
    assert returning.due(now + 0.9 * LONGEST_SECONDS) == 8
    assert returning.due(now + LONGEST_SECONDS) == 0


def test_the_wait_ends_with_the_last_who_is_due_by_release_and_by_time() -> None:
    """Each of the three ends it; a full batch does not begin it."""

    async def test() -> None:
        for end in ("all", "release", "time", "full"):
            returning, now = after(50, 2, 2, 0.2)
            # Only where time is to end it does the clock go on.
            past = itertools.chain([now], itertools.repeat(now + 1.0 if end == "time" else now))
            clock = past.__next__
            full = functools.partial(str.__eq__, end, "full")
            waiting = asyncio.create_task(returning.wait(full, clock))
            await asyncio.sleep(0)
            assert waiting.done() == (end == "full")
            if end == "all":
                returning.arrived(now)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert not waiting.done()
                returning.arrived(now)
            if end == "release":
                returning.release()
            await asyncio.wait_for(waiting, 20)
            assert returning.due(now) == (2 if end in ("time", "full") else 0)

    asyncio.run(test())
