"""One launch: a fresh worker for every variant, and rounds in which each has its turn."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jettison import machine
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import CostMetric, CostReading
from jettison.domain.jobs import Burst, Ready, Resources, Variant
from jettison.domain.rows import Rows
from jettison.machine import Contention, ContentionMeter
from jettison.timing.cells import CellReadings, play_cells
from jettison.timing.sessions import Sessions
from jettison.worker_client import WorkerSession

FEWEST_ROUNDS = 3
"""A median of fewer readings is no guard against one that was disturbed."""

LONGEST_TURN_SECONDS = 1.0
"""Timed calls of one batch size in one turn, where a turn has more than one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all variants of a comparison share.

    Attributes:
        rows: from which every variant draws the same batches.
        rounds, calls: turns of each variant in a launch, timed calls in a turn at most.
        folder: for the workers' logs while they run.
        lengths: of ragged rows, at which the latency is read besides.
        enough: seconds of rounds after which no further one begins, if there were `FEWEST_ROUNDS`.
    """

    rows: Rows
    serving: ServingProfile
    costs: tuple[CostMetric, ...]
    rounds: int
    calls: int
    folder: Path
    lengths: tuple[int, ...] = ()
    enough: float = math.inf


@dataclass(frozen=True, slots=True)
class Launch:
    """What one launch found.

    Attributes:
        rounds: variant -> timed cost -> one reading per round, in the same order for all.
        exact: variant -> other cost -> its reading.
        ready: variant -> load and first-call times.
        contention: what others used meanwhile.
        busy: whether that was too much.
        cells: variant -> (batch size, length) -> milliseconds per example, one for each round.
    """

    rounds: Mapping[str, Mapping[str, Sequence[CostReading]]]
    exact: Mapping[str, Mapping[str, CostReading]]
    ready: Mapping[str, Ready]
    contention: Contention
    busy: bool
    cells: Mapping[str, CellReadings] = field(default_factory=dict)


@dataclass(slots=True)
class Turn:
    """One turn of a session: two costs that read the same batch size share one burst.

    Attributes:
        calls: batch size -> timed calls, the same for all variants.
    """

    session: WorkerSession
    calls: Mapping[int, int]
    bursts: dict[int, Burst] = field(default_factory=dict)

    @property
    def ready(self) -> Ready:
        """Of the session."""
        return self.session.ready

    def burst(self, batch_size: int, calls: int) -> Burst:
        """Gives this turn's burst; how many calls it has is settled by the protocol."""
        if batch_size not in self.bursts:
            self.bursts[batch_size] = self.session.burst(batch_size, self.calls[batch_size])
        return self.bursts[batch_size]

    def resources(self) -> Resources:
        """Of the session."""
        return self.session.resources()


def run_launch(
    variants: Sequence[Variant],
    setting: Setting,
    order: random.Random,
    tick: Callable[[], None] = lambda: None,
) -> Launch:
    """Starts one worker per variant, gives each its turns in random order, and ends them.

    Args:
        variants: with distinct names.
        setting: what they share.
        order: shuffles the order of start and of each round.
        tick: called after each round.

    Raises:
        CandidateFailed: if a variant can't be loaded or run.
        WorkerDied: if a worker ended.
    """
    with Sessions(setting.rows, setting.serving, setting.folder) as workers:
        return play_launch(variants, workers, setting, order, tick)


def play_launch(
    variants: Sequence[Variant],
    workers: Sessions,
    setting: Setting,
    order: random.Random,
    tick: Callable[[], None] = lambda: None,
) -> Launch:
    """Plays one launch with workers that may be open already; they stay open. As `run_launch`."""
    timed = [cost for cost in setting.costs if cost.timed]
    exact = [cost for cost in setting.costs if not cost.timed]
    # Started one after the other, so that load times are not mixed up.
    sessions = {v.name: workers.of(v) for v in order.sample(list(variants), len(variants))}
    # One that was open before has gone on in its rows; ragged ones must have the same lengths for all.
    for session in sessions.values():
        session.rewind()
    meter = ContentionMeter(session.pid for session in sessions.values())
    rounds, calls, preempted = _play(variants, sessions, setting, order, timed, tick)
    cells = play_cells(sessions, setting.serving.batch_sizes, setting.lengths, order)
    contention = meter.stop(calls, preempted)
    others = {
        variant.name: {
            cost.name: cost.observe(variant.model, sessions[variant.name], setting.serving)
            for cost in exact
        }
        for variant in variants
    }
    ready = {name: session.ready for name, session in sessions.items()}
    busy = bool(timed) and machine.is_busy(contention, setting.serving.threads, machine.cores())
    return Launch(rounds, others, ready, contention, busy, cells)


def _calls(
    variants: Sequence[Variant], sessions: Mapping[str, WorkerSession], setting: Setting
) -> dict[int, int]:
    """Warms every worker up, and settles how many calls of each batch size a turn has.

    Where one call of the first variant takes long, fewer are enough for a turn: the figure is a
    median over rounds, and its interval is over launches.
    """
    calls = {}
    for size in setting.serving.batch_sizes:
        seconds = [sessions[variant.name].burst(size, 1).seconds[0] for variant in variants]
        calls[size] = max(1, min(setting.calls, int(LONGEST_TURN_SECONDS / seconds[0])))
    return calls


def _play(
    variants: Sequence[Variant],
    sessions: Mapping[str, WorkerSession],
    setting: Setting,
    order: random.Random,
    timed: Sequence[CostMetric],
    tick: Callable[[], None],
) -> tuple[dict[str, dict[str, list[CostReading]]], int, int]:
    """Plays the rounds; gives the readings, and how many calls were timed and preempted."""
    readings: dict[str, dict[str, list[CostReading]]] = {
        variant.name: {cost.name: [] for cost in timed} for variant in variants
    }
    calls = preempted = 0
    if not timed:
        return readings, calls, preempted
    allowed = _calls(variants, sessions, setting)
    begun = time.monotonic()
    for done in range(setting.rounds):
        if done >= FEWEST_ROUNDS and time.monotonic() - begun > setting.enough:
            break
        for variant in order.sample(list(variants), len(variants)):
            turn = Turn(sessions[variant.name], allowed)
            for cost in timed:
                reading = cost.observe(variant.model, turn, setting.serving)
                readings[variant.name][cost.name].append(reading)
            calls += sum(len(burst.seconds) for burst in turn.bursts.values())
            preempted += sum(burst.preempted_calls for burst in turn.bursts.values())
        tick()
    return readings, calls, preempted
