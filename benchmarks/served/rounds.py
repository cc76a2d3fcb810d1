"""Rounds in which every arm has one turn; servers without a turn are stopped, not only idle."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load import rpc
from benchmarks.load.connection import Reply, ask, connect
from benchmarks.load.loops import Target, close_all, closed_loop, open_loop, run
from benchmarks.load.neighbours import Neighbours
from benchmarks.load.recording import Floats, Load
from benchmarks.served.arms import Arm, Array, Case
from benchmarks.served.servers import HOST, NotStarted, RawRunner, Server

RAW = "raw, in process"
WARM_SECONDS = 0.5
RELATIVE, ABSOLUTE = 1e-3, 1e-4


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: turns of each arm.
        seconds: of one turn, after warming up.
        seed: of the order.
    """

    rounds: int
    seconds: float
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One arm's turn in one round.

    Attributes:
        answered: requests (rows, for the raw runner) answered with 200.
        failed: others.
        seconds, cpu_seconds: of the turn; CPU of the server's whole tree.
        latency: seconds of each answered request; of each call, for the raw runner.
        busy: whether others used the machine meanwhile.
    """

    arm: str
    number: int
    answered: int
    failed: int
    seconds: float
    cpu_seconds: float
    latency: Floats
    busy: bool

    @property
    def cpu_ms(self) -> float:
        """CPU per answered request, in ms."""
        return 1e3 * self.cpu_seconds / max(self.answered, 1)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answered / self.seconds


@dataclass(frozen=True, slots=True)
class Field:
    """Everything that takes part: the case, its servers (by name), the arms, and no server."""

    case: Case
    servers: Mapping[str, Server]
    arms: Sequence[Arm]
    raw: RawRunner


def check_answers(field: Field, expected: Sequence[Array]) -> dict[str, str]:
    """Asks each arm for the first few rows; gives what is wrong, by arm.

    Args:
        field: what takes part.
        expected: the model's output for each row of the case, flat.
    """
    wrong: dict[str, str] = {}
    for arm in field.arms:
        server = field.servers[arm.server]
        server.tree.resume()
        try:
            for request, answer in zip(arm.requests[:4], expected):
                problem = _difference(arm, _once(server, arm, request), answer)
                if problem:
                    wrong[arm.name] = problem
                    break
        finally:
            server.tree.pause()
    return wrong


def _once(server: Server, arm: Arm, request: bytes) -> Reply:
    async def one() -> Reply:
        if arm.grpc:
            body = await rpc.ask(f"{HOST}:{server.recipe.grpc_port}", request)
            return Reply(200, body, time.perf_counter())
        connection = await connect(server.address)
        try:
            return await ask(connection, request)
        finally:
            await close_all([connection])

    return run(one())


def _difference(arm: Arm, reply: Reply, answer: Array) -> str:
    if reply.status != 200:
        return f"status {reply.status}: {reply.body[:200].decode(errors='replace')}"
    if arm.read is None:
        return ""
    try:
        found = arm.read(reply)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"its answer can't be read: {type(error).__name__}: {error}"
    if found.shape != answer.shape:
        return f"shape {found.shape}, not {answer.shape}"
    allowed = ABSOLUTE + RELATIVE * float(np.abs(answer).max())
    worst = float(np.abs(found - answer).max())
    return "" if worst <= allowed else f"its answer differs by {worst:.3g}"


def play(field: Field, plan: Plan) -> list[Turn]:
    """Plays all rounds. Each second round goes through the arms in the reverse order (A B B A)."""
    order = random.Random(plan.seed)
    names = [RAW, *(arm.name for arm in field.arms)]
    by_name = {arm.name: arm for arm in field.arms}
    turns: list[Turn] = []
    for number in range(plan.rounds):
        if number % 2 == 0:
            order.shuffle(names)
        else:
            names.reverse()
        for name in names:
            if name == RAW:
                turns.append(_raw_turn(field, number, plan.seconds))
            else:
                turns.append(_turn(field, by_name[name], number, plan.seconds))
        last = {t.arm: f"{t.per_second:.0f}/s" for t in turns[-len(names) :]}
        print(f"round {number + 1} of {plan.rounds}: {last}", flush=True)
    return turns


def _raw_turn(field: Field, number: int, seconds: float) -> Turn:
    neighbours = Neighbours(field.raw.cpu_seconds)
    found = field.raw.timed(seconds)
    busy = neighbours.busy()
    return Turn(
        RAW,
        number,
        int(found["rows"]),
        0,
        float(found["seconds"]),
        float(found["cpu_seconds"]),
        np.array([float(found["call_seconds"])]),
        busy,
    )


def _turn(field: Field, arm: Arm, number: int, seconds: float) -> Turn:
    server = field.servers[arm.server]
    server.tree.resume()
    try:
        _ask_all(server, arm, field.case.clients, WARM_SECONDS)
        neighbours = Neighbours(server.tree.cpu_seconds)
        used = server.tree.cpu_seconds()
        load = _ask_all(server, arm, field.case.clients, seconds)
        spent = server.tree.cpu_seconds() - used
        busy = neighbours.busy()
    finally:
        server.tree.pause()
    return Turn(
        arm.name,
        number,
        int(load.accepted.sum()),
        int((~load.accepted).sum()) + load.unanswered + load.unasked,
        load.seconds,
        spent,
        load.latency,
        busy,
    )


def _ask_all(server: Server, arm: Arm, clients: int, seconds: float) -> Load:
    if arm.grpc:
        target = f"{HOST}:{server.recipe.grpc_port}"
        return run(rpc.closed_loop(target, arm.requests, clients, seconds))
    return run(closed_loop(Target(server.address, arm.requests), clients, seconds))


def offer(field: Field, arm: Arm, rate: float, seconds: float, seed: int) -> Load:
    """An open loop at a given rate.

    Raises:
        NotStarted: if the server has ended.
    """
    server = field.servers[arm.server]
    if server.tree.process.poll() is not None:
        raise NotStarted(f"{server.recipe.name} has ended")
    server.tree.resume()
    try:
        _ask_all(server, arm, field.case.clients, WARM_SECONDS)
        return run(open_loop(Target(server.address, arm.requests), rate, seconds, seed))
    finally:
        server.tree.pause()
