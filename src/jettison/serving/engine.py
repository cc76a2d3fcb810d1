"""One model version on one thread of its own: nothing is computed on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import Runner
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Array, Batch, Rows
from jettison.errors import CandidateFailed, RequestRefused
from jettison.worker.neighbours import Dependence, batch_dependence
from jettison.worker.workbench import prepare

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

NAME_DIGITS = 8


class Job(NamedTuple):
    """What the thread is to call, and the future on the event loop that waits for it."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class EngineThread:
    """A thread that carries out jobs in order, and sleeps on its queue between them.

    A job costs one put and one wake-up of the loop, without the locks and the second future of
    `run_in_executor`; docs/decisions/0060-batching.md has the figures.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        # A daemon: a native call that never comes back must not keep a stopped server alive.
        thread = threading.Thread(target=_carry_out, args=(self._jobs,), name=name, daemon=True)
        thread.start()

    def call(self, work: Callable[[*Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        """Has the thread call something; gives the future of its result.

        Raises:
            RequestRefused: `not ready`, after `close`.
        """
        if self._closed:
            raise RequestRefused("not ready", "this version of the model was unloaded; ask again")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._jobs.put(Job(work, arguments, loop, answer))
        return answer

    def close(self) -> None:
        """Lets the thread end when its jobs are done; doesn't wait for it."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)


def _carry_out(jobs: SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        try:
            result = job.work(*job.arguments)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the one who waits gets it
            _deliver(job, _fail, error)
        else:
            _deliver(job, _succeed, result)
            del result
        # Or the arrays of this batch would live until the next one comes.
        del job


def _deliver(job: Job, way: Callable[[asyncio.Future[Any], Any], None], what: Any) -> None:
    try:
        job.loop.call_soon_threadsafe(way, job.answer, what)
    except RuntimeError:
        # The loop was closed while this was computed: nobody waits any more.
        if not job.loop.is_closed():
            raise


def _succeed(answer: asyncio.Future[Any], result: Any) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if answer.done():
        return
    if isinstance(error, StopIteration) or not isinstance(error, Exception):
        # A future can't hold the first; the others would end the server.
        wrapped = CandidateFailed(f"the engine raised {error!r}")
        wrapped.__cause__ = error
        error = wrapped
    answer.set_exception(error)


class Engine:
    """A prepared model whose every call runs on one thread, one after the other."""

    def __init__(self, model: Model, runner: Runner, thread: EngineThread) -> None:
        self.model = model
        self._runner = runner
        self._thread = thread

    @classmethod
    async def load(cls, model: Model, runtime: Step, serving: ServingProfile) -> Engine:
        """Opens a model and prepares it on its runtime, on a new thread.

        Raises:
            JettisonError: if the model can't be opened or run here; says why.
        """
        thread = EngineThread(f"jettison-engine-{model.artifact.digest[:NAME_DIGITS]}")
        loaded = False
        try:
            runner = await thread.call(prepare, model, runtime, serving)
            loaded = True
        finally:
            if not loaded:
                thread.close()
        return cls(model, runner, thread)

    async def run(self, batch: Batch) -> dict[str, Array]:
        """Answers named arrays (rows first) with named arrays (rows first).

        Raises:
            CandidateFailed: if the runtime fails on this batch; quotes its reason.
            RequestRefused: `not ready`, after `close`.
        """
        return await self._thread.call(self._runner.run, batch)

    async def batch_dependence(self, rows: Rows, largest: int) -> Dependence:
        """Runs rows beside others and alone: do answers change with batch mates?

        Args:
            rows: some that the model will meet; at least 4, or nothing is found.
            largest: the largest batch that is to be served.
        """
        return await self._thread.call(batch_dependence, self._runner, rows, self.model, largest)

    def close(self) -> None:
        """Lets the thread go once its calls are done; later calls are refused."""
        self._thread.close()
