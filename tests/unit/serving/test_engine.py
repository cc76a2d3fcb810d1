"""The engine thread: nothing on the loop, errors to whoever waits, a thread that outlives loops."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.model import Artifact
from jettison.errors import CandidateFailed, JettisonError, RequestRefused
from jettison.serving.engine import EngineThread
from tests.serving_bundle import Made, make_model, make_rows
from tests.serving_engines import TOLERANCE, features, load, make_classifier


def engine_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("jettison-engine")}


def test_every_call_runs_on_the_engines_own_thread() -> None:
    """Calls run one after the other on one named thread, never on the event loop's."""

    async def test() -> None:
        thread = EngineThread("jettison-engine-test")
        names = await asyncio.gather(*[thread.call(threading.current_thread) for _ in range(4)])
        assert {t.name for t in names} == {"jettison-engine-test"}
        assert len({t.ident for t in names}) == 1
        thread.close()
        names[0].join(10)
        assert not names[0].is_alive()

    asyncio.run(test())


def test_a_loaded_model_answers(tmp_path: Path) -> None:
    """Rows together are answered as rows alone, by the real runtime."""

    async def test() -> None:
        engine = await load(make_classifier(tmp_path))
        batch = features(1, 5)
        together = (await engine.run(batch))["scores"]
        alone = [(await engine.run({"x": batch["x"][i : i + 1]}))["scores"] for i in range(5)]
        np.testing.assert_allclose(together, np.concatenate(alone), atol=TOLERANCE)
        engine.close()

    asyncio.run(test())


def test_a_fixed_batch_is_answered_row_for_row(tmp_path: Path) -> None:
    """A graph saved for one row is run as often as it takes."""

    async def test() -> None:
        engine = await load(make_classifier(tmp_path, batch=1))
        assert (await engine.run(features(1, 3)))["scores"].shape == (3, 4)
        engine.close()

    asyncio.run(test())


def test_a_model_that_can_not_be_loaded_leaves_no_thread(tmp_path: Path) -> None:
    """The reason comes out of `load`, and the thread that tried ends."""
    model = make_classifier(tmp_path)
    model.artifact.path.write_bytes(b"no graph at all")
    broken = dataclasses.replace(
        model, artifact=Artifact.of("onnx_file", tmp_path, ("model.onnx",))
    )
    before = engine_threads()

    async def test() -> None:
        with pytest.raises(JettisonError, match=r"model\.onnx"):
            await load(broken)

    asyncio.run(test())
    for thread in engine_threads() - before:
        thread.join(10)
    assert engine_threads() <= before


def test_the_runtimes_error_reaches_the_one_who_waits(tmp_path: Path) -> None:
    """A batch that the runtime refuses raises its reason, and the next one is answered."""

    async def test() -> None:
        engine = await load(make_classifier(tmp_path))
        with pytest.raises(CandidateFailed, match="onnxruntime could not run"):
            await engine.run({"x": features(1)["x"][:, :3]})
        assert (await engine.run(features(1)))["scores"].shape == (1, 4)
        engine.close()

    asyncio.run(test())


@pytest.mark.parametrize("error", [StopIteration("empty"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_future_can_not_carry_is_an_error_like_others(error: BaseException) -> None:
    """An engine that raises `SystemExit` neither ends the server nor leaves its caller waiting."""

    def work() -> None:
        raise error

    async def test() -> None:
        thread = EngineThread("jettison-engine-test")
        with pytest.raises(CandidateFailed, match="the engine raised"):
            await thread.call(work)
        assert await thread.call(sum, (1, 2)) == 3
        thread.close()

    asyncio.run(test())


def test_a_closed_engine_refuses(tmp_path: Path) -> None:
    """After `close`, which may be called twice, a call is refused and not left waiting."""

    async def test() -> None:
        engine = await load(make_classifier(tmp_path))
        running = asyncio.ensure_future(engine.run(features(1)))
        await asyncio.sleep(0)
        engine.close()
        engine.close()
        assert (await running)["scores"].shape == (1, 4)
        with pytest.raises(RequestRefused) as caught:
            await engine.run(features(1))
        assert caught.value.status == 503

    asyncio.run(test())


def test_a_call_that_outlives_its_loop_harms_nobody() -> None:
    """The loop may be gone when a result comes; the thread goes on for the next loop."""
    going, came = threading.Event(), threading.Event()
    kept: list[EngineThread] = []

    def slow() -> None:
        came.set()
        going.wait(10)

    async def leave() -> None:
        kept.append(EngineThread("jettison-engine-test"))
        call = kept[0].call(slow)
        await asyncio.to_thread(came.wait, 10)
        call.cancel()

    async def again() -> int:
        return await kept[0].call(sum, (1, 2))

    asyncio.run(leave())
    going.set()
    assert asyncio.run(again()) == 3
    kept[0].close()


def test_a_cancelled_call_is_carried_out_but_answers_nobody() -> None:
    """Cancelling the wait does not disturb the thread or the calls behind it."""

    async def test() -> None:
        thread = EngineThread("jettison-engine-test")
        done: list[int] = []
        first = thread.call(done.append, 1)
        first.cancel()
        await thread.call(done.append, 2)
        assert done == [1, 2]
        thread.close()

    asyncio.run(test())


@pytest.mark.parametrize(("kind", "dependent"), [("mlp", False), ("dynamic", True)])
def test_batch_dependence_is_found_again_at_load(
    tmp_path: Path, kind: str, dependent: bool
) -> None:
    """A dynamically quantized model heeds its neighbours; the float model doesn't."""
    how = Made(kind=kind)
    model, rows = make_model(tmp_path / "model", how), make_rows(tmp_path / "rows", how)

    async def test() -> None:
        engine = await load(model)
        assert (await engine.batch_dependence(rows, 8)).dependent is dependent
        engine.close()

    asyncio.run(test())


def test_the_loop_is_free_while_the_engine_computes() -> None:
    """Other work of the loop goes on during a call: here it is what lets the call end."""

    async def test() -> None:
        thread, gate = EngineThread("jettison-engine-test"), threading.Event()
        call = thread.call(gate.wait, 30)
        await asyncio.sleep(0.01)
        assert not call.done()
        gate.set()
        assert await call is True
        thread.close()

    asyncio.run(test())
