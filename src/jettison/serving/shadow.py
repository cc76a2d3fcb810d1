"""A second model that answers a share of the requests too, unseen: the original, or a new bundle.

It runs on a thread of lower priority, only where nobody waits, and never makes a caller wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jettison import registry
from jettison.domain.configuration import ModelSection
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Array
from jettison.errors import CandidateFailed, CheckFailed, UsageError
from jettison.pipeline.load import load_model
from jettison.serving.admission import Admitted
from jettison.serving.comparison import Comparison
from jettison.serving.engine import Engine, EngineThread
from jettison.serving.requests import Answer, InferenceRequest
from jettison.trust.probes import probe_rows
from jettison.worker.workbench import prepare

ORIGINAL = "original"
WAITING = 8
"""Requests that may wait for the shadow; it drops what comes on top."""

LARGEST_ROWS = 128
"""Requests with more rows are left out: one of them would hold the shadow for long."""

NICENESS = 10
ALONE = frozenset({"batch-dependent", "fixed-batch"})

HandOver = Callable[[InferenceRequest, Answer, Answer | None], None]
"""Takes a request with the answer that the caller got, and the original's: `None` where it failed,
and for a shadow that is another bundle, because certified margins are about the original."""

logger = logging.getLogger("jettison.serving.shadow")


@dataclass(frozen=True, slots=True)
class Understudy:
    """What a shadow runs.

    Attributes:
        title: `original`, or the version of a bundle.
        model, runtime, serving: as for any model that is run.
    """

    title: str
    model: Model
    runtime: Step
    serving: ServingProfile


class Shadow:
    """Answers a sampled share of the requests, one at a time, when nobody else waits.

    Attributes:
        understudy: what runs.
        comparison: how its answers compare.
    """

    def __init__(
        self, understudy: Understudy, engine: Engine, share: float, hand_over: HandOver
    ) -> None:
        """Starts to wait for requests; call it on the event loop.

        Args:
            understudy: what the engine runs.
            engine: loaded, on a thread of low priority.
            share: of the requests that are looked at, from 0 to 1.
            hand_over: called on the event loop for each request that was taken.
        """
        self.understudy = understudy
        self.comparison = Comparison(understudy.title, understudy.model)
        self._engine = engine
        self._share = share
        self._hand_over = hand_over
        self._random = random.Random()
        self._waiting: asyncio.Queue[tuple[InferenceRequest, Answer, str]] = asyncio.Queue(WAITING)
        self._task = asyncio.create_task(self._work(), name="jettison-shadow")

    def fits(self, original: str) -> bool:
        """Whether answers of a bundle with this original may be compared with the shadow's.

        Args:
            original: digest of the model that the bundle was made from.
        """
        understudy = self.understudy
        return understudy.title != ORIGINAL or understudy.model.artifact.digest == original

    def offer(
        self, request: InferenceRequest, answer: Answer, prediction: str, *, busy: bool
    ) -> bool:
        """Takes a request that was just answered, or leaves it.

        Args:
            request: of the caller.
            answer: that the caller gets.
            prediction: output of the answer that metrics read.
            busy: whether callers wait; then the shadow drops its part.

        Returns:
            Whether it was taken; then `hand_over` will be called once with it.
        """
        if self._random.random() >= self._share:
            return False
        if busy or request.rows > LARGEST_ROWS or self._waiting.full():
            self.comparison.count("dropped")
            return False
        self._waiting.put_nowait((request, answer, prediction))
        return True

    async def _work(self) -> None:
        while True:
            request, answer, prediction = await self._waiting.get()
            try:
                other = await self._answer(request, prediction)
            except Exception as failure:  # noqa: BLE001 - a model may raise anything; it is counted
                self.comparison.count("failed")
                self._hand_over(request, answer, None)
                told = {"shadow": self.understudy.title, "reason": str(failure)}
                logger.warning("the shadow could not answer", extra={"fields": told})
            else:
                self.comparison.count("answered")
                if self.understudy.title == ORIGINAL:
                    self._hand_over(request, answer, other)
                else:
                    self.comparison.take(answer.arrays[prediction], other.arrays[prediction])
                    self._hand_over(request, answer, None)

    async def _answer(self, request: InferenceRequest, prediction: str) -> Answer:
        """Runs it as a request of its own, under the output name of the model that it follows."""
        begun = time.monotonic()
        model = self.understudy.model
        found = await self._run(request)
        arrays = {**found, prediction: found[model.prediction]}
        seconds = time.monotonic() - begun
        return Answer(arrays, self.understudy.title, 0.0, seconds, request.rows)

    async def _run(self, request: InferenceRequest) -> dict[str, Array]:
        if not self.understudy.model.traits & ALONE:
            return await self._engine.run(request.arrays)
        pieces = [
            await self._engine.run({n: v[i : i + 1] for n, v in request.arrays.items()})
            for i in range(request.rows)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    async def close(self) -> None:
        """Stops at once; what waited is forgotten."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._engine.close()


async def start_shadow(
    understudy: Understudy, beside: Admitted, share: float, hand_over: HandOver
) -> Shadow:
    """Loads a model on a thread of low priority, warms it, and lets it follow.

    Args:
        understudy: what to run.
        beside: the bundle whose requests it will get; its probes are run once.
        share: of the requests.
        hand_over: see `Shadow`.

    Raises:
        UsageError: if it does not take what the bundle takes.
        CheckFailed: if it can't answer.
    """
    _check_inputs(understudy, beside.served.model)
    thread = EngineThread(f"jettison-shadow-{understudy.title}")
    try:
        await thread.call(step_back)
        runner = await thread.call(
            prepare, understudy.model, understudy.runtime, understudy.serving
        )
        engine = Engine(understudy.model, runner, thread)
        with tempfile.TemporaryDirectory(prefix="jettison-shadow-") as folder:
            rows = await asyncio.to_thread(probe_rows, beside.probes, Path(folder))
            await engine.run(rows.batch(slice(0, 1)))
    except CandidateFailed as failure:
        thread.close()
        raise CheckFailed(f"the shadow `{understudy.title}` can't answer: {failure}") from failure
    except BaseException:
        thread.close()
        raise
    return Shadow(understudy, engine, share, hand_over)


def understudy_of(admitted: Admitted) -> Understudy:
    """A bundle as a shadow."""
    served = admitted.served
    return Understudy(admitted.version, served.model, served.runtime, served.serving)


async def load_original(path: str, beside: Admitted, folder: Path) -> Understudy:
    """Loads the model that a bundle was made from, through the stage load.

    Args:
        path: of the original, as it was given to `jettison optimize`.
        beside: the bundle.
        folder: empty; may be removed once the model was prepared.

    Raises:
        ModelError: if it can't be loaded. A pickle is never opened here.
        UsageError: if it is another model than the one that the bundle was made from.
    """
    asked = beside.record.configuration.model
    section = ModelSection(
        path, asked.task, max_length=asked.max_length, prediction=asked.prediction
    )
    model = await asyncio.to_thread(load_model, section, folder)
    told = beside.record.model.artifact.digest
    if model.artifact.digest != told:
        raise UsageError(
            f"{path} is not the model that the bundle {beside.folder} was made from: its digest is "
            f"{model.artifact.digest[:12]}, the bundle names {told[:12]}; give that model, or "
            "compare with another bundle by --shadow"
        )
    runtime = registry.home_runtime(model.traits)
    return Understudy(ORIGINAL, model, Step(runtime.name), beside.served.serving)


def step_back() -> None:
    """Lowers the priority of this thread, where the system can do that for one thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _check_inputs(understudy: Understudy, model: Model) -> None:
    theirs = {spec.name: spec.dtype for spec in understudy.model.inputs}
    ours = {spec.name: spec.dtype for spec in model.inputs}
    if theirs != ours:
        raise UsageError(
            f"the shadow `{understudy.title}` takes {theirs}, the bundle takes {ours}: no request "
            "fits both; give a model with the same inputs"
        )
