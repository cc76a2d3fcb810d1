"""Whatever comes, in whatever order: each caller gets the answer to its own rows, or its own error."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import RequestRefused
from jettison.serving.batcher import Batcher, BatchPolicy
from jettison.serving.requests import Answer, Priority
from tests.serving_engines import (
    PAD,
    TOLERANCE,
    VOCABULARY,
    Notes,
    Watched,
    ask,
    load,
    make_tagger,
    settle,
    words,
)

MOST = 24


@dataclass(frozen=True)
class Planned:
    """One request of a schedule; `pause` lets the loop run before it, `gate` opens or shuts it."""

    rows: int
    length: int
    priority: Priority
    fate: Literal["good", "good", "poison", "cancelled", "late"]
    pause: int
    gate: bool


PLANS = st.lists(
    st.builds(
        Planned,
        rows=st.integers(1, 7),
        length=st.integers(2, 40),
        priority=st.sampled_from(["normal", "normal", "high"]),
        fate=st.sampled_from(["good", "good", "good", "poison", "cancelled", "late"]),
        pause=st.integers(0, 4),
        gate=st.booleans(),
    ),
    min_size=1,
    max_size=MOST,
)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_tagger(tmp_path_factory.mktemp("tagger"))


def arrays_of(number: int, plan: Planned) -> dict[str, Array]:
    """Rows that carry the number of their request as first token."""
    arrays = words(number, plan.rows, plan.length)
    arrays["ids"][:, 0] = number + 1
    if plan.fate == "poison":
        arrays["ids"][0, 1] = VOCABULARY + 1
    return arrays


def rows_seen(seen: Watched, number: int) -> int:
    return sum(int((batch["ids"][:, 0] == number + 1).sum()) for batch in seen.batches)


async def play(model: Model, plans: list[Planned], cap: int) -> None:
    engine = await load(model)
    seen, notes = Watched(engine.run), Notes()
    batcher = Batcher(seen, model, BatchPolicy(cap, 10_000), notes, PAD, "v1")
    asked = [arrays_of(number, plan) for number, plan in enumerate(plans)]
    tasks: list[asyncio.Task[Answer]] = []
    when_cancelled: dict[int, int] = {}
    for number, plan in enumerate(plans):
        for _ in range(plan.pause):
            await asyncio.sleep(0)
        (seen.gate.set if plan.gate else seen.gate.clear)()
        more: dict[str, Any] = {"priority": plan.priority}
        if plan.fate == "late":
            more["deadline"] = time.monotonic() + 1e-3
        tasks.append(asyncio.create_task(batcher.submit(ask(asked[number], **more))))
        if plan.fate == "cancelled":
            await settle()
            tasks[number].cancel()
            when_cancelled[number] = rows_seen(seen, number)
    seen.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.drain()
    assert batcher.waiting_rows == 0
    assert max(seen.sizes, default=0) <= cap
    for number, (plan, outcome) in enumerate(zip(plans, outcomes)):
        if isinstance(outcome, Answer):
            assert plan.fate != "poison"
            alone = await engine.run(asked[number])
            assert set(outcome.arrays) == set(alone)
            for name, values in alone.items():
                np.testing.assert_allclose(outcome.arrays[name], values, atol=TOLERANCE)
        elif plan.fate == "cancelled":
            assert isinstance(outcome, asyncio.CancelledError)
            assert rows_seen(seen, number) == when_cancelled[number]
        else:
            assert isinstance(outcome, RequestRefused), outcome
            # Who would be late is refused at the door where the pace is known already.
            assert (
                outcome.reason in {"poison": ("failed",), "late": ("deadline", "full")}[plan.fate]
            )
    engine.close()


@given(plans=PLANS, cap=st.integers(1, 9))
def test_every_caller_gets_its_own_answer(tagger: Model, plans: list[Planned], cap: int) -> None:
    """Mixed rows, lengths and priorities, with poison, hang-ups and deadlines among them.

    Each answer equals that of its rows run alone; poison fails by itself; rows whose caller left
    are never run after that; no batch is larger than the cap.
    """
    asyncio.run(play(tagger, plans, cap))


def test_many_callers_at_once(tagger: Model) -> None:
    """A hundred callers that ask again and again, all different, get what they asked for."""

    async def test() -> None:
        engine = await load(tagger)
        seen = Watched(engine.run)
        batcher = Batcher(seen, tagger, BatchPolicy(16, 10_000), Notes(), PAD)

        async def caller(number: int) -> None:
            rng = np.random.default_rng(number)
            for turn in range(5):
                arrays = words(1000 * turn + number, int(rng.integers(1, 6)), rng.integers(1, 41))
                answer = await batcher.submit(ask(arrays))
                alone = await engine.run(arrays)
                for name, values in alone.items():
                    np.testing.assert_allclose(answer.arrays[name], values, atol=TOLERANCE)

        await asyncio.gather(*[caller(number) for number in range(100)])
        assert max(seen.sizes) <= 16
        assert len(seen.batches) < 500
        engine.close()

    asyncio.run(test())
