"""The claim protocol for one model: the original, and the rows that may be the best."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Mapping, Sequence

from benchmarks.cpu.building import ORIGINAL
from benchmarks.cpu.choosing import CHOICE
from benchmarks.cpu.judging import meets
from benchmarks.cpu.margins import SHORT
from benchmarks.cpu.records import Claimed, State, keep
from jettison import registry
from jettison.domain.measurement import OVERALL, Estimate
from jettison.statistics.intervals import log_ratio_interval
from jettison.timing.claims import SECOND_COPY
from jettison.timing.estimates import cost_estimates, gain_estimates, launch_log_ratios
from jettison.timing.launches import Launch, Setting, run_launch

MOST_PEERS = 1 if SHORT else 3
LAUNCHES, FEWEST = 5, 3
SECONDS = 45.0 if SHORT else 80.0
"""No launch starts after that, except the first few: others wait while this measures."""

ROUNDS, CALLS = 4 if SHORT else 8, 5
COSTS = ("latency_ms", "size_bytes", "peak_memory_bytes")


def claim(state: State, title: str, rounds: int = ROUNDS) -> State:
    """Times one set of rows; kept with what was known before."""
    subject = state.subject
    names = contenders(state, title)
    variants = [state.variant(name) for name in names]
    variants.append(dataclasses.replace(variants[0], name=SECOND_COPY))
    costs = tuple(registry.get("costs", name) for name in COSTS)
    folder = subject.folder / "claims"
    rows = subject.timed[title]
    setting = Setting(rows, subject.serving, costs, rounds, CALLS, folder, enough=SECONDS)
    launches = _launches(variants, setting)
    found = _claimed(state, names, launches)
    state = dataclasses.replace(state, claims={**state.claims, title: found})
    keep(state)
    return state


def contenders(state: State, title: str) -> list[str]:
    """The original, the fastest in float, the fastest peers within the margin, and jettison's."""
    ranking = state.ranking[title]
    ordered = sorted(ranking, key=lambda one: -ranking[one])
    owner = {b.name: b.owner for b in state.built}
    good = [one for one in ordered if meets(state.judged, one)]
    floats = [one for one in good if owner[one] == "float"][:1]
    peers = [one for one in good if owner[one] == "peer"][:MOST_PEERS]
    ours = [one for one in good if owner[one] == "jettison" and one != CHOICE][:1]
    return list(dict.fromkeys([ORIGINAL, *floats, *peers, CHOICE, *ours]))


def _launches(variants: Sequence[object], setting: Setting) -> list[Launch]:
    """Up to five launches of everybody; what others did meanwhile is kept with each."""
    order = random.Random(0)
    begun = time.monotonic()
    found: list[Launch] = []
    while len(found) < LAUNCHES:
        if len(found) >= FEWEST and time.monotonic() - begun > SECONDS:
            break
        found.append(run_launch(variants, setting, order))  # type: ignore[arg-type]
    return found


def _claimed(state: State, names: Sequence[str], launches: Sequence[Launch]) -> Claimed:
    busy = any(launch.busy for launch in launches)
    latency = registry.get("costs", COSTS[0])
    costs: dict[str, tuple[Estimate, ...]] = {}
    for name in names:
        found: list[Estimate] = []
        for cost in (registry.get("costs", one) for one in COSTS):
            found += cost_estimates(name, launches, cost, busy)
            if name != names[0]:
                found += gain_estimates(names[0], name, launches, cost, busy)
        costs[name] = tuple(found)
    best = fastest_peer(state, costs)
    ratios = {
        name: tuple(gain_estimates(best, name, launches, latency, busy))
        for name in names
        if name == CHOICE or name.startswith("jettison's")
    }
    same = launch_log_ratios(names[0], SECOND_COPY, launches, latency)
    interval = log_ratio_interval(same)
    floor = math.exp(max(abs(math.log(interval.low)), abs(math.log(interval.high)))) - 1.0
    worst = max(launches, key=lambda launch: launch.contention.other_cores)
    return Claimed(
        costs,
        best,
        ratios.pop(CHOICE),
        ratios,
        floor,
        len(launches),
        str(worst.contention),
        busy,
    )


def fastest_peer(state: State, costs: Mapping[str, Sequence[Estimate]]) -> str:
    """The fastest of the claim that is not jettison's and meets the margin."""
    owner = {b.name: b.owner for b in state.built}
    rivals = [name for name in costs if owner[name] != "jettison" and meets(state.judged, name)]
    return min(rivals, key=lambda name: latency_of(costs[name]))


def latency_of(found: Sequence[Estimate]) -> float:
    """Milliseconds weighted over the batch sizes."""
    value = next(e.value for e in found if e.metric == COSTS[0] and e.group == OVERALL)
    return math.inf if value is None else value
