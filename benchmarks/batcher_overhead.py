"""What the batcher costs by itself: CPU-microseconds per request with a model that does nothing.

Each figure is the median over rounds in which the variants take turns; its interval is a
distribution-free 95 % interval of that median. CPU time is that of the whole process, engine thread
included, so it says the same on a busy machine as on a quiet one, caches apart.

Run with `python -m benchmarks.batcher_overhead`.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.results_file import Row, write
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import Array, Batch
from jettison.serving.batcher import Batcher, BatchPolicy
from jettison.serving.deadlines import Deadlines
from jettison.serving.engine import EngineThread
from jettison.serving.requests import Answer, InferenceRequest
from jettison.serving.signature import checked
from jettison.serving.waiting import Ticket

PRESSURE = Path("/proc/pressure/cpu")
ROUNDS = 15
LOW, HIGH = 3, 11
"""Order statistics (from 0) of 15 rounds: between them lies the median with 96 % confidence."""

CALLS = 5_000
CALLERS = 32
FEATURES = 64
FAR = 5.0

Variant = Callable[[], Awaitable[None]]


class Silent:
    """An observer that does nothing."""

    def waiting(self, rows: int) -> None: ...

    def batch(self, rows: int, queue_seconds: Sequence[float], compute_seconds: float) -> None: ...

    def rejected(self, reason: str) -> None: ...


MODEL = Model(
    Artifact("onnx_file", "/nowhere", ("model.onnx",), "0" * 64, 1),
    frozenset({"onnx"}),
    (TensorSpec("x", "float32", ("batch", FEATURES)),),
    (TensorSpec("scores", "float32", ("batch", 8)),),
    "scores",
    "classification",
    Encoder("arrays"),
)
SCORES = np.zeros((CALLERS, 8), dtype=np.float32)


def nothing(batch: Batch) -> dict[str, Array]:
    """Answers without computing."""
    return {"scores": SCORES[: len(batch["x"])]}


async def hand_over_to_own_thread() -> None:
    thread = EngineThread("jettison-engine-benchmark")
    for _ in range(CALLS):
        await thread.call(nothing, REQUEST.arrays)
    thread.close()


async def hand_over_to_executor() -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1) as pool:
        for _ in range(CALLS):
            await loop.run_in_executor(pool, nothing, REQUEST.arrays)


async def hand_over_to_nobody() -> None:
    """A future that the loop itself resolves: what any wait costs."""
    loop = asyncio.get_running_loop()
    for _ in range(CALLS):
        future: asyncio.Future[dict[str, Array]] = loop.create_future()
        loop.call_soon(future.set_result, nothing(REQUEST.arrays))
        await future


async def tickets(watch: Callable[[Ticket], Callable[[], None]]) -> None:
    """Makes requests 32 at a time and answers them before their deadlines, which all differ."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    until = time.monotonic() + FAR
    for turn in range(CALLS // CALLERS):
        some = []
        for place in range(CALLERS):
            number = turn * CALLERS + place
            request = InferenceRequest(REQUEST.arrays, 1, until + number * 1e-4)
            ticket = Ticket(request, 0, number, 0.0, future)
            some.append((ticket, watch(ticket)))
        for ticket, forget in some:
            ticket.end()
            forget()
        await asyncio.sleep(0)


def nothing_to_forget() -> None: ...


async def deadlines_of_nobody() -> None:
    await tickets(lambda _: nothing_to_forget)


async def timers_of_their_own() -> None:
    loop = asyncio.get_running_loop()
    now = time.monotonic()
    await tickets(lambda ticket: loop.call_later(ticket.deadline - now, ticket.end).cancel)


async def one_timer_for_all() -> None:
    deadlines = Deadlines(lambda _: None)

    def watch(ticket: Ticket) -> Callable[[], None]:
        deadlines.watch(ticket)
        return nothing_to_forget

    await tickets(watch)


async def callers(ask: Callable[[], Awaitable[object]]) -> None:
    """32 callers, each of which asks again as soon as it is answered."""

    async def one() -> None:
        for _ in range(CALLS // CALLERS):
            await ask()

    await asyncio.gather(*[one() for _ in range(CALLERS)])


async def batched(deadline: float, hold: float) -> None:
    thread = EngineThread("jettison-engine-benchmark")

    async def run(batch: Batch) -> dict[str, Array]:
        return await thread.call(nothing, batch)

    policy = BatchPolicy(CALLERS, 10 * CALLERS, hold)
    batcher = Batcher(run, MODEL, policy, Silent())
    arrays = REQUEST.arrays

    async def ask() -> None:
        until = time.monotonic() + deadline if deadline < math.inf else math.inf
        await batcher.submit(InferenceRequest(arrays, 1, until))

    await callers(ask)
    thread.close()


async def without_batcher() -> None:
    """The same callers, one hand-over to the thread each."""
    thread = EngineThread("jettison-engine-benchmark")
    await callers(lambda: thread.call(nothing, REQUEST.arrays))
    thread.close()


async def checks() -> None:
    for _ in range(CALLS):
        checked(MODEL, REQUEST.arrays, pad={})


REQUEST = InferenceRequest({"x": np.ones((1, FEATURES), dtype=np.float32)}, 1)
VARIANTS: dict[str, Variant] = {
    "hand-over: none (a future of the loop)": hand_over_to_nobody,
    "hand-over: own thread and SimpleQueue": hand_over_to_own_thread,
    "hand-over: ThreadPoolExecutor": hand_over_to_executor,
    "deadline: not kept (the rest of a ticket)": deadlines_of_nobody,
    "deadline: a timer for each request": timers_of_their_own,
    "deadline: one timer for all": one_timer_for_all,
    "batcher: 32 callers": lambda: batched(math.inf, 0.0),
    "batcher: 32 callers with deadlines": lambda: batched(FAR, 0.0),
    "batcher: 32 callers with deadlines and a hold of 2 ms": lambda: batched(FAR, 0.002),
    "no batcher: 32 callers, each alone on the thread": without_batcher,
    "signature check of one row of 64 floats": checks,
}


def one_round(variant: Variant) -> float:
    """CPU-microseconds per call."""
    begun = time.process_time()
    uvloop.run(variant())  # type: ignore[arg-type]
    return 1e6 * (time.process_time() - begun) / CALLS


def main() -> None:
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for variant in VARIANTS.values():
        one_round(variant)
    order = random.Random(0)
    for _ in range(ROUNDS):
        for name in order.sample(list(VARIANTS), len(VARIANTS)):
            found[name].append(one_round(VARIANTS[name]))
    rows = []
    for name, values in found.items():
        ranked = sorted(values)
        value = statistics.median(ranked)
        low, high = ranked[LOW], ranked[HIGH]
        print(f"{value:7.1f} µs  [{low:.1f}, {high:.1f}]  {name}")
        rows.append(Row("no-op", name, "cpu_us_per_request", value, low, high, "µs", ROUNDS))
    write(
        "batcher_overhead",
        rows,
        [
            f"Median over {ROUNDS} rounds of {CALLS} calls on uvloop; the interval is a "
            "distribution-free 96 % interval of the median.",
            "CPU time of the whole process, engine thread included. One process, no network.",
            f"/proc/pressure/cpu at the end: {PRESSURE.read_text().splitlines()[0]}",
        ],
    )


if __name__ == "__main__":
    main()
