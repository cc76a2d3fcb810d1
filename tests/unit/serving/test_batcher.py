"""The batcher on a real engine: who is answered with what, when, and what never reaches the model."""

from __future__ import annotations

import asyncio
import gc
import math
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.model import Model
from jettison.domain.rows import Array, Batch
from jettison.errors import CandidateFailed, RequestRefused
from jettison.serving.batcher import Batcher, BatchPolicy
from jettison.serving.engine import Engine
from jettison.serving.hold import FEWEST
from jettison.serving.requests import Answer, InferenceRequest
from jettison.serving.waiting import HIGH_IN_A_ROW
from tests.serving_engines import (
    PAD,
    TOLERANCE,
    Notes,
    Watched,
    ask,
    features,
    load,
    make_classifier,
    make_tagger,
    settle,
    words,
)

Arrays = Mapping[str, Array]


@dataclass
class Setup:
    """A batcher with everything around it."""

    engine: Engine
    seen: Watched
    notes: Notes
    batcher: Batcher

    def send(self, arrays: Arrays, **more: object) -> asyncio.Task[Answer]:
        return asyncio.get_running_loop().create_task(self.batcher.submit(ask(arrays, **more)))

    async def block(self) -> asyncio.Task[Answer]:
        """Keeps the engine busy with one request of seed 0 until the gate is opened."""
        self.seen.gate.clear()
        self.seen.begun.clear()
        first = self.send(features(0))
        await self.seen.begun.wait()
        return first

    async def release(self, *tasks: asyncio.Task[Answer]) -> list[Any]:
        self.seen.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def serve(
    model: Model,
    policy: BatchPolicy,
    pad: Mapping[str, float] | None = None,
    wrap: Callable[[Engine], Callable[[Batch], Awaitable[dict[str, Array]]]] | None = None,
) -> AsyncIterator[Setup]:
    engine = await load(model)
    seen, notes = Watched(wrap(engine) if wrap else engine.run), Notes()
    try:
        yield Setup(engine, seen, notes, Batcher(seen, model, policy, notes, pad, "v1"))
    finally:
        engine.close()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_tagger(tmp_path_factory.mktemp("tagger"))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def same(answer: Answer, alone: Arrays) -> None:
    assert set(answer.arrays) == set(alone)
    for name, values in alone.items():
        np.testing.assert_allclose(answer.arrays[name], values, atol=TOLERANCE)


def refusal(outcome: object) -> RequestRefused:
    assert isinstance(outcome, RequestRefused), outcome
    return outcome


def test_a_request_alone_is_answered_at_once(classifier: Model) -> None:
    """With a free engine nothing is waited for, and the answer says how it came about."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(8, 64)) as here:
            answer = await here.batcher.submit(ask(features(1, 3)))
            same(answer, await here.engine.run(features(1, 3)))
            assert (answer.version, answer.batch_rows) == ("v1", 3)
            assert answer.queue_seconds >= 0
            assert answer.compute_seconds > 0
            assert here.notes.sizes == [3]
            assert here.notes.queue[-1] == here.batcher.waiting_rows == 0

    run(test())


def test_what_waits_goes_together_when_the_engine_is_free(classifier: Model) -> None:
    """Requests that came during a batch share the next one, each with its own answer."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(8, 64)) as here:
            first = await here.block()
            tasks = [here.send(features(seed)) for seed in range(1, 6)]
            await settle()
            assert here.batcher.waiting_rows == 5
            answers = await here.release(first, *tasks)
            assert here.seen.sizes == [1, 5]
            assert len(here.notes.waits[1]) == 5
            for seed, answer in enumerate(answers):
                same(answer, await here.engine.run(features(seed)))

    run(test())


def test_rows_are_counted_and_not_requests(classifier: Model) -> None:
    """A batch holds at most the cap in rows; what doesn't fit lets smaller ones pass, then leads."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            first = await here.block()
            tasks = [here.send(features(seed, n)) for seed, n in ((1, 3), (2, 2), (3, 1), (4, 4))]
            await settle()
            await here.release(first, *tasks)
            assert here.seen.seeds == [[0], [1, 1, 1, 3], [2, 2], [4, 4, 4, 4]]

    run(test())


def test_a_request_beyond_the_cap_is_cut_and_put_together(classifier: Model) -> None:
    """Its pieces follow each other, its last batch is shared, and nobody sees the seams."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            first = await here.block()
            long, short = here.send(features(1, 10)), here.send(features(2, 2))
            await settle()
            _, answer, other = await here.release(first, long, short)
            assert here.seen.seeds == [[0], [1] * 4, [1] * 4, [1, 1, 2, 2]]
            same(answer, await here.engine.run(features(1, 10)))
            same(other, await here.engine.run(features(2, 2)))
            assert answer.batch_rows == 4
            assert answer.compute_seconds > other.compute_seconds

    run(test())


def test_a_full_queue_refuses_with_a_time_to_come_back(classifier: Model) -> None:
    """The bound counts rows; the time told grows from the measured compute time."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(2, 4)) as here:
            unmeasured = here.batcher.retry_after_seconds()
            answer = await here.batcher.submit(ask(features(9)))
            first = await here.block()
            tasks = [here.send(features(1, 3)), here.send(features(2, 2)), here.send(features(3))]
            await settle()
            assert here.batcher.waiting_rows == 4
            outcomes = await here.release(first, *tasks)
            refused = refusal(outcomes[2])
            assert (refused.reason, refused.status) == ("full", 429)
            assert refused.retry_after_seconds is not None
            assert 3 * answer.compute_seconds <= refused.retry_after_seconds
            assert refused.retry_after_seconds != unmeasured > 0
            assert isinstance(outcomes[1], Answer)
            assert isinstance(outcomes[3], Answer)
            assert here.notes.refusals == ["full"]
            assert isinstance(await here.batcher.submit(ask(features(4, 4))), Answer)

    run(test())


def test_waiting_inputs_are_bounded_by_their_bytes(classifier: Model) -> None:
    """Few large requests fill the queue as many small ones do; what goes makes room again."""

    async def test() -> None:
        # A row has 64 bytes.
        async with serve(classifier, BatchPolicy(2, 64, max_queue_bytes=200)) as here:
            first = await here.block()
            tasks = [here.send(features(1, 2)), here.send(features(2, 2)), here.send(features(3))]
            await settle()
            assert here.batcher.waiting_bytes == 192
            aside = here.send(features(4, 3), priority="high")
            gone = here.send(features(5, 2), priority="high")
            await settle()
            assert refusal(gone.exception()).reason == "full"
            assert here.batcher.waiting_bytes == 192 + 192
            tasks[0].cancel()
            await settle()
            assert here.batcher.waiting_bytes == 64 + 192
            outcomes = await here.release(first, tasks[1], tasks[2], aside)
            refused = refusal(outcomes[1])
            assert (refused.reason, refused.status) == ("full", 429)
            assert refused.retry_after_seconds is not None
            assert "128 bytes wait already and at most 200 bytes may" in str(refused)
            assert isinstance(outcomes[2], Answer)
            assert isinstance(outcomes[3], Answer)
            assert here.batcher.waiting_bytes == 0

    run(test())


def test_one_large_request_is_taken_where_none_waits(classifier: Model) -> None:
    """It is in memory already; it counts until its last rows are taken, then others may come."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(2, 64, max_queue_bytes=200)) as here:
            first = await here.block()
            large = here.send(features(1, 5))
            await settle()
            assert here.batcher.waiting_bytes == 320
            here.seen.shut_at = 2
            here.seen.begun.clear()
            here.seen.gate.set()
            await here.seen.begun.wait()
            assert here.batcher.waiting_rows == 3
            assert here.batcher.waiting_bytes == 320
            more = here.send(features(2))
            await settle()
            assert refusal(more.exception()).reason == "full"
            answers = await here.release(first, large)
            assert all(isinstance(one, Answer) for one in answers)
            assert here.batcher.waiting_bytes == 0

    run(test())


def test_who_would_be_late_at_the_pace_of_now_is_refused_at_the_door(classifier: Model) -> None:
    """A machine that got slower takes fewer rows than it was measured to; a patient one waits."""

    def slow(engine: Engine) -> Callable[[Batch], Awaitable[dict[str, Array]]]:
        async def run_slowly(batch: Batch) -> dict[str, Array]:
            await asyncio.sleep(0.05)
            return await engine.run(batch)

        return run_slowly

    async def test() -> None:
        async with serve(classifier, BatchPolicy(1, 1000), wrap=slow) as here:
            await here.batcher.submit(ask(features(9)))
            first = await here.block()
            tasks = [here.send(features(i)) for i in range(10)]
            await settle()
            now = time.monotonic()
            hasty = here.send(features(11), deadline=now + 0.4)
            patient = here.send(features(12), deadline=now + 600.0)
            (outcome,) = await asyncio.gather(hasty, return_exceptions=True)
            refused = refusal(outcome)
            assert (refused.reason, refused.status) == ("full", 429)
            assert refused.retry_after_seconds is not None
            assert refused.retry_after_seconds >= 10 * 0.05
            outcomes = await here.release(first, *tasks, patient)
            assert all(isinstance(one, Answer) for one in outcomes)

    run(test())


def test_what_can_never_be_queued_is_not_told_to_come_back(classifier: Model) -> None:
    """A request of more rows than the queue takes, or of none, is refused for good."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(2, 4)) as here:
            with pytest.raises(RequestRefused, match="at most 4 rows; got 5") as caught:
                await here.batcher.submit(ask(features(1, 5)))
            assert (caught.value.reason, caught.value.retry_after_seconds) == ("too large", None)
            with pytest.raises(RequestRefused, match="at least 1 row"):
                await here.batcher.submit(InferenceRequest(features(1), 0))
            assert here.seen.batches == []

    run(test())


def test_a_passed_deadline_is_answered_while_the_engine_is_busy(classifier: Model) -> None:
    """The 504 comes when the deadline passes, not when the queue moves; the row is not computed."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            first = await here.block()
            soon = time.monotonic() + 0.02
            late, other = here.send(features(1, 2), deadline=soon), here.send(features(2))
            (outcome,) = await asyncio.gather(late, return_exceptions=True)
            assert refusal(outcome).status == 504
            assert time.monotonic() >= soon
            assert not first.done()
            assert here.batcher.waiting_rows == 1
            await here.release(first, other)
            assert here.seen.seeds == [[0], [2]]
            assert here.notes.refusals == ["deadline"]

    run(test())


def test_a_deadline_that_passes_during_the_batch_is_answered_then(classifier: Model) -> None:
    """Whoever is being computed is not waited for either, and its mates get their answers."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            first = await here.block()
            mates = [
                here.send(features(1)),
                here.send(features(2), deadline=time.monotonic() + 0.05),
            ]
            await settle()
            here.seen.shut_at = 2
            here.seen.begun.clear()
            here.seen.gate.set()
            await here.seen.begun.wait()
            assert first.done()
            (outcome,) = await asyncio.gather(mates[1], return_exceptions=True)
            assert refusal(outcome).reason == "deadline"
            assert not mates[0].done()
            (answer,) = await here.release(mates[0])
            same(answer, await here.engine.run(features(1)))

    run(test())


def test_a_deadline_in_the_past_is_refused_at_the_door(classifier: Model) -> None:
    """A request whose deadline has passed is never queued."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            with pytest.raises(RequestRefused) as caught:
                await here.batcher.submit(ask(features(1), deadline=time.monotonic()))
            assert caught.value.status == 504
            assert here.seen.batches == []

    run(test())


def test_deadlines_in_any_order_are_each_kept(classifier: Model) -> None:
    """One timer serves them all: those that pass are told, in their order; the others wait on."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            first = await here.block()
            now, told = time.monotonic(), []
            tasks = {}
            for wait in (30.0, 0.06, 0.02, 0.04, math.inf):
                tasks[wait] = here.send(features(1), deadline=now + wait)
                tasks[wait].add_done_callback(lambda _, wait=wait: told.append(wait))
            await asyncio.gather(*[tasks[w] for w in (0.02, 0.04, 0.06)], return_exceptions=True)
            assert told == [0.02, 0.04, 0.06]
            assert not tasks[30.0].done()
            await here.release(first, tasks[30.0], tasks[math.inf])
            assert sum(here.seen.sizes) == 3

    run(test())


def test_cancelled_rows_never_reach_the_engine(classifier: Model) -> None:
    """A caller that hangs up takes its rows out of the queue, cut requests included."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            first = await here.block()
            gone = [here.send(features(1, 2)), here.send(features(2, 9))]
            stays = here.send(features(3))
            await settle()
            assert here.batcher.waiting_rows == 12
            for task in gone:
                task.cancel()
            await settle()
            assert here.batcher.waiting_rows == here.notes.queue[-1] == 1
            await here.release(first, stays)
            assert here.seen.seeds == [[0], [3]]

    run(test())


def test_a_caller_who_leaves_as_the_batch_forms_is_left_out(classifier: Model) -> None:
    """Rows are looked at once more when the batch is formed: cancelled a moment ago is enough."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            gone, stays = here.send(features(1)), here.send(features(2))
            await asyncio.sleep(0)
            assert here.batcher.waiting_rows == 2
            gone.cancel()
            await stays
            assert here.seen.seeds == [[2]]
            assert here.batcher.waiting_rows == 0

    run(test())


def test_the_rest_of_a_cut_request_is_dropped_with_it(classifier: Model) -> None:
    """Once its caller is gone, the pieces that still wait are not computed."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            here.seen.gate.clear()
            long = here.send(features(1, 12))
            await here.seen.begun.wait()
            long.cancel()
            await settle()
            assert here.batcher.waiting_rows == 0
            here.seen.gate.set()
            same(await here.batcher.submit(ask(features(2))), await here.engine.run(features(2)))
            assert here.seen.seeds == [[1] * 4, [2]]

    run(test())


def test_high_priority_goes_first_and_does_not_starve_the_rest(classifier: Model) -> None:
    """High requests overtake; one batch in `HIGH_IN_A_ROW` + 1 is still for the oldest normal."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(1, 64)) as here:
            first = await here.block()
            normal = [here.send(features(seed)) for seed in (1, 2)]
            high = [here.send(features(seed), priority="high") for seed in range(10, 20)]
            await settle()
            await here.release(first, *normal, *high)
            order = [seeds[0] for seeds in here.seen.seeds[1:]]
            assert order[: HIGH_IN_A_ROW + 1] == [10, 11, 12, 13, 1]
            assert order.index(2) == 2 * HIGH_IN_A_ROW + 1
            assert [s for s in order if s >= 10] == list(range(10, 20))

    run(test())


def test_room_beside_high_requests_is_filled_with_normal_ones(classifier: Model) -> None:
    """Priority decides who leads, not how much of the batch stays empty."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(3, 64)) as here:
            first = await here.block()
            tasks = [here.send(features(seed)) for seed in (1, 2, 3)]
            tasks.append(here.send(features(10), priority="high"))
            await settle()
            await here.release(first, *tasks)
            assert here.seen.seeds == [[0], [10, 1, 2], [3]]

    run(test())


def test_normal_rows_do_not_keep_high_ones_out(classifier: Model) -> None:
    """A queue full of normal rows takes a high request; high rows are bounded by themselves."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(1, 2)) as here:
            first = await here.block()
            tasks = [here.send(features(1, 2)), here.send(features(2))]
            tasks += [here.send(features(s, 1), priority="high") for s in (3, 4, 5)]
            await settle()
            outcomes = await here.release(first, *tasks)
            refused = [isinstance(outcome, RequestRefused) for outcome in outcomes[1:]]
            assert refused == [False, True, False, False, True]

    run(test())


def test_only_like_lengths_share_a_batch_and_padding_is_taken_off(tagger: Model) -> None:
    """Short texts meet short ones, filled with the pad value; each gets its own length back."""

    async def test() -> None:
        async with serve(tagger, BatchPolicy(8, 64), PAD) as here:
            here.seen.gate.clear()
            first = here.send(words(0, 1, 3))
            await here.seen.begun.wait()
            asked = [words(1, 2, 5), words(2, 1, 40), words(3, 1, 16), words(4, 1, 45)]
            tasks = [here.send(arrays) for arrays in asked]
            await settle()
            _, *answers = await here.release(first, *tasks)
            assert [batch["ids"].shape for batch in here.seen.batches] == [(1, 3), (3, 16), (2, 45)]
            together = here.seen.batches[1]
            np.testing.assert_array_equal(together["mask"][:2, :5], asked[0]["mask"])
            assert not together["mask"][:2, 5:].any()
            for arrays, answer in zip(asked, answers):
                same(answer, await here.engine.run(arrays))

    run(test())


def test_the_group_of_the_oldest_goes_first(tagger: Model) -> None:
    """A group is not kept waiting because another one is never empty."""

    async def test() -> None:
        async with serve(tagger, BatchPolicy(2, 64), PAD) as here:
            here.seen.gate.clear()
            tasks = [here.send(words(0, 1, 3))]
            await here.seen.begun.wait()
            tasks += [here.send(words(1, 1, n)) for n in (4, 50, 5, 6, 30, 7)]
            await settle()
            await here.release(*tasks)
            lengths = [batch["ids"].shape[1] for batch in here.seen.batches]
            assert lengths == [3, 5, 50, 7, 30]

    run(test())


def test_outputs_whose_length_is_untold_are_never_padded(tmp_path: Path) -> None:
    """Where an output can't be cut back to its own length, only equal lengths share a batch."""
    model = make_tagger(tmp_path, tags_axis="somehow")

    async def test() -> None:
        async with serve(model, BatchPolicy(8, 64), PAD) as here:
            here.seen.gate.clear()
            first = here.send(words(0, 1, 3))
            await here.seen.begun.wait()
            asked = [words(1, 1, 5), words(2, 1, 6), words(3, 1, 5)]
            tasks = [here.send(arrays) for arrays in asked]
            await settle()
            _, *answers = await here.release(first, *tasks)
            assert [batch["ids"].shape for batch in here.seen.batches] == [(1, 3), (2, 5), (1, 6)]
            for arrays, answer in zip(asked, answers):
                same(answer, await here.engine.run(arrays))

    run(test())


def test_a_poisoned_row_costs_only_its_own_request(tagger: Model) -> None:
    """7 good requests and 1 bad, five times: 35 good answers, and 5 errors that say why."""

    async def test() -> None:
        async with serve(tagger, BatchPolicy(8, 64), PAD) as here:
            poison = words(99, 1, 6)
            poison["ids"][0, 2] = 10_000
            good = bad = 0
            for turn in range(5):
                asked = [words(seed, 1, 6) for seed in range(7)]
                asked.insert(turn, poison)
                tasks = [here.send(arrays) for arrays in asked]
                outcomes = await here.release(*tasks)
                for arrays, outcome in zip(asked, outcomes):
                    if arrays is poison:
                        refused = refusal(outcome)
                        assert (refused.reason, refused.status) == ("failed", 500)
                        assert isinstance(refused.__cause__, CandidateFailed)
                        assert tagger.artifact.folder not in str(refused)
                        bad += 1
                    else:
                        same(outcome, await here.engine.run(arrays))
                        good += 1
            assert (good, bad) == (35, 5)
            assert here.seen.sizes == [8, *[1] * 8] * 5
            assert here.notes.refusals == ["failed"] * 5

    run(test())


def test_a_batch_is_retried_only_once(classifier: Model) -> None:
    """An engine that answers nothing fails each request after its batch and itself, no more."""

    async def test() -> None:
        def broken(_: Engine) -> Callable[[Batch], Awaitable[dict[str, Array]]]:
            async def fail(batch: Batch) -> dict[str, Array]:
                raise MemoryError("no memory left")

            return fail

        async with serve(classifier, BatchPolicy(8, 64), wrap=broken) as here:
            tasks = [here.send(features(seed)) for seed in range(3)]
            outcomes = await here.release(*tasks)
            assert [refusal(o).reason for o in outcomes] == ["failed"] * 3
            assert here.seen.sizes == [3, 1, 1, 1]
            assert "no memory left" in str(outcomes[0])

    run(test())


def test_nobody_who_left_is_asked_again_alone(classifier: Model) -> None:
    """Of a batch that failed, those that were cancelled or too late meanwhile are not retried."""

    async def test() -> None:
        def failing(engine: Engine) -> Callable[[Batch], Awaitable[dict[str, Array]]]:
            async def answer(batch: Batch) -> dict[str, Array]:
                if len(batch["x"]) > 1:
                    raise CandidateFailed("together")
                return await engine.run(batch)

            return answer

        async with serve(classifier, BatchPolicy(8, 64), wrap=failing) as here:
            here.seen.gate.clear()
            gone, stays = here.send(features(1)), here.send(features(2))
            late = here.send(features(3), deadline=time.monotonic() + 0.05)
            await here.seen.begun.wait()
            gone.cancel()
            await asyncio.gather(late, return_exceptions=True)
            _, answer, outcome = await here.release(gone, stays, late)
            same(answer, await here.engine.run(features(2)))
            assert refusal(outcome).reason == "deadline"
            assert here.seen.seeds == [[1, 2, 3], [2]]

    run(test())


@pytest.mark.parametrize("fault", ["a row too few", "a row too many", "no rows", "no output"])
def test_outputs_of_another_row_count_reach_no_caller(classifier: Model, fault: str) -> None:
    """Where outputs don't match the rows asked, the batch is an error, and each is asked alone."""

    async def test() -> None:
        def faulty(engine: Engine) -> Callable[[Batch], Awaitable[dict[str, Array]]]:
            async def answer(batch: Batch) -> dict[str, Array]:
                outputs = await engine.run(batch)
                if len(batch["x"]) == 1 and batch["x"][0, 0] != 2:
                    return outputs
                scores = outputs["scores"]
                changed: dict[str, dict[str, Array]] = {
                    "a row too few": {"scores": scores[:-1]},
                    "a row too many": {"scores": np.concatenate([scores, scores[:1]])},
                    "no rows": {"scores": scores.sum()},
                    "no output": {"other": scores},
                }
                return changed[fault]

            return answer

        async with serve(classifier, BatchPolicy(8, 64), wrap=faulty) as here:
            outcomes = await here.release(*[here.send(features(seed)) for seed in (1, 2, 3)])
            assert refusal(outcomes[1]).reason == "failed"
            same(outcomes[0], await here.engine.run(features(1)))
            same(outcomes[2], await here.engine.run(features(3)))

    run(test())


def test_outputs_that_the_model_does_not_list_are_left_out(classifier: Model) -> None:
    """A loader keeps outputs with one row per example; others are nobody's and are not sent."""

    async def test() -> None:
        def more(engine: Engine) -> Callable[[Batch], Awaitable[dict[str, Array]]]:
            async def answer(batch: Batch) -> dict[str, Array]:
                return {**await engine.run(batch), "loss": np.float32(0)[...]}

            return answer

        async with serve(classifier, BatchPolicy(8, 64), wrap=more) as here:
            for answer in await here.release(*[here.send(features(s)) for s in (1, 2)]):
                assert set(answer.arrays) == {"scores"}

    run(test())


def test_a_cut_request_that_fails_once_fails_whole(classifier: Model) -> None:
    """One bad piece is one error for the request, and what still waits of it is dropped."""

    async def test() -> None:
        def failing(engine: Engine) -> Callable[[Batch], Awaitable[dict[str, Array]]]:
            async def answer(batch: Batch) -> dict[str, Array]:
                if (batch["x"][:, 1] == 7).any():
                    raise CandidateFailed("seven")
                return await engine.run(batch)

            return answer

        async with serve(classifier, BatchPolicy(2, 64), wrap=failing) as here:
            arrays = features(1, 9)
            arrays["x"][3, 1] = 7
            outcomes = await here.release(here.send(arrays), here.send(features(2)))
            assert refusal(outcomes[0]).reason == "failed"
            assert isinstance(outcomes[1], Answer)
            assert here.seen.seeds == [[1, 1], [1, 1], [2]]

    run(test())


def test_draining_answers_all_that_was_accepted(classifier: Model) -> None:
    """New requests get 503, old ones their answers, and the drain ends with the last of them."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(2, 64)) as here:
            first = await here.block()
            tasks = [here.send(features(seed)) for seed in range(1, 8)]
            await settle()
            drain = asyncio.create_task(here.batcher.drain())
            await settle()
            with pytest.raises(RequestRefused) as caught:
                await here.batcher.submit(ask(features(9)))
            assert (caught.value.reason, caught.value.status) == ("drain", 503)
            assert not drain.done()
            here.seen.gate.set()
            await drain
            for seed, task in enumerate((first, *tasks)):
                same(await task, await here.engine.run(features(seed)))
            await here.batcher.drain()
            assert here.notes.refusals == ["drain"]

    run(test())


def test_nobody_is_left_waiting_when_the_work_is_stopped(classifier: Model) -> None:
    """If the loop cancels the work, computing and queued requests are told, and none hangs."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(2, 64)) as here:
            before = asyncio.all_tasks()
            first = await here.block()
            tasks = [here.send(features(seed)) for seed in range(1, 4)]
            await settle()
            (worker,) = asyncio.all_tasks() - before - {first, *tasks}
            worker.cancel()
            outcomes = await asyncio.gather(first, *tasks, return_exceptions=True)
            assert [refusal(o).status for o in outcomes] == [503] * 4
            here.seen.gate.set()
            same(await here.batcher.submit(ask(features(5))), await here.engine.run(features(5)))

    run(test())


def test_nothing_runs_while_nothing_waits(classifier: Model) -> None:
    """An idle batcher has no task and sets no timer: it costs nothing."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64, hold_seconds=0.001)) as here:
            for seed in range(8):
                await here.batcher.submit(ask(features(seed)))
            await settle()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            loop: Any = asyncio.get_running_loop()
            assert [timer for timer in loop._scheduled if not timer.cancelled()] == []

    run(test())


def test_answered_requests_are_let_go_before_their_deadline(classifier: Model) -> None:
    """Inputs and answers don't stay in memory until a far deadline, however many come."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(4, 64)) as here:
            far = time.monotonic() + 3600
            kept = []
            for seed in range(3):
                arrays = features(seed)
                kept.append(weakref.ref(arrays["x"]))
                answer = await here.batcher.submit(ask(arrays, deadline=far))
                kept.append(weakref.ref(answer.arrays["scores"]))
            del arrays, answer
            here.seen.batches.clear()
            await settle()
            gc.collect()
            assert [ref() for ref in kept] == [None] * 6

    run(test())


def test_a_held_batch_goes_as_soon_as_it_is_full(classifier: Model) -> None:
    """With mates due, a batch that isn't full is held; the mate that fills it ends the hold."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(2, 64, hold_seconds=3600.0)) as here:
            for seed in range(FEWEST):
                await here.batcher.submit(ask(features(seed)))
            held = here.send(features(10))
            await settle()
            assert here.seen.sizes == [1] * FEWEST
            mate = here.send(features(11))
            await asyncio.gather(held, mate)
            assert here.seen.seeds[FEWEST:] == [[10, 11]]

    run(test())


def test_a_drain_does_not_wait_for_mates(classifier: Model) -> None:
    """A batch that is held when the server stops goes at once: nobody else is let in."""

    async def test() -> None:
        async with serve(classifier, BatchPolicy(2, 64, hold_seconds=3600.0)) as here:
            for seed in range(FEWEST):
                await here.batcher.submit(ask(features(seed)))
            held = here.send(features(10))
            await settle()
            assert not held.done()
            await here.batcher.drain()
            same(await held, await here.engine.run(features(10)))

    run(test())


@pytest.mark.parametrize(
    "values",
    [
        (0, 1, 0.0, 1),
        (1, 0, 0.0, 1),
        (1, 1, 0.0, 0),
        (1, 1, -1.0, 1),
        (1, 1, math.nan, 1),
        (1, 1, math.inf, 1),
    ],
)
def test_an_impossible_policy_is_refused(values: tuple[int, int, float, int]) -> None:
    """A cap or a bound below one, or a hold that never ends, is a mistake of the caller."""
    with pytest.raises(ValueError, match="must be"):
        BatchPolicy(*values)


def test_pieces_of_other_shapes_fail_their_own_request_only(classifier: Model) -> None:
    """Rows that were computed apart and can't be joined again fail nobody who waits behind them."""

    def as_wide_as_told(engine: Engine) -> Callable[[Batch], Awaitable[dict[str, Array]]]:
        async def answer(batch: Batch) -> dict[str, Array]:
            rows = batch["x"]
            return {"scores": np.zeros((len(rows), int(rows[0, 0])), np.float32)}

        return answer

    rows = np.zeros((2, 16), np.float32)
    rows[:, 0] = (1, 2)

    async def test() -> None:
        async with serve(classifier, BatchPolicy(1, 64), wrap=as_wide_as_told) as here:
            both = here.send({"x": rows})
            behind = here.send({"x": rows[:1]})
            told, answer = await asyncio.gather(both, behind, return_exceptions=True)
            refused = refusal(told)
            assert refused.reason == "failed"
            assert "the output `scores` has another shape" in str(refused)
            assert not isinstance(answer, BaseException), answer
            assert answer.arrays["scores"].shape == (1, 1)

    run(test())
