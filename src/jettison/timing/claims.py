"""The two tiers of cost figures: rankings that steer the search, and claims that are quoted."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.extension_points import CostMetric
from jettison.domain.jobs import SessionJob, Variant
from jettison.domain.measurement import (
    OVERALL,
    Estimate,
    FasterVerdict,
    Measurement,
    faster_verdict,
)
from jettison.domain.rows import Rows
from jettison.statistics.intervals import Interval, log_ratio_interval
from jettison.timing.cells import cell_estimates, left_out, lengths_to_show
from jettison.timing.estimates import (
    cost_estimates,
    gain_estimates,
    launch_log_ratios,
)
from jettison.timing.launches import Launch, Setting, play_launch, run_launch
from jettison.timing.sessions import Sessions
from jettison.worker_client import WorkerSession

__all__ = [
    "CALLS",
    "RANKING_ROUNDS",
    "SECOND_COPY",
    "ClaimPlan",
    "ClaimResult",
    "FasterVerdict",
    "claim_costs",
    "faster_verdict",
    "ranking_costs",
]

SECOND_COPY = "a/a"
RANKING_ROUNDS = 6
RANKING_SECONDS = 8.0
"""Where calls take long, half of the rounds tell as much: each reading spans more of what others do,
and a search with few minutes gets to more recipes."""

CALLS = 5

CLAIM_SECONDS = 40.0
"""The interval of a claim is over launches, so that seconds are better spent on one more of them than
on the last rounds of one."""


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """How much measuring a claim takes.

    Attributes:
        launches: fresh processes of every variant.
        rounds, calls: turns in a launch (fewer, and at least 3, after `CLAIM_SECONDS`), timed
            calls in a turn (fewer where calls are long).
        max_seconds: no launch starts after that, except the first few: launches that others
            disturbed are repeated within it.
        fewest: how many those are. Student's interval over two launches is 13 standard errors wide
            on each side, over three 4: two tell what something costs, and support no claim.
        max_disturbed: after so many disturbed launches no more are awaited, as where times only
            inform; `None` sets no limit but the time.
        seed: of the order of turns.
        tick: called after each round with rounds done and rounds expected.
    """

    launches: int = 5
    rounds: int = 8
    calls: int = CALLS
    max_seconds: float = 600.0
    fewest: int = 2
    max_disturbed: int | None = None
    seed: int = 0
    tick: Callable[[int, int], None] | None = None


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """Claim-tier figures.

    Attributes:
        measurements: variant name -> figures; `a/a` is the second copy of the baseline.
        noise_floor: the end of the A/A interval that is farther from "no difference", as a
            fraction of the first timed cost (0.02 = 2 %); 0 where no cost is timed.
        noisy: whether others disturbed launches that had to be used.
    """

    measurements: Mapping[str, Measurement]
    noise_floor: float
    noisy: bool


def ranking_costs(
    baseline: Variant, candidate: Variant, workers: Sessions, costs: tuple[str, ...]
) -> tuple[Estimate, ...]:
    """One launch of two workers, 6 rounds (3 where they take long): enough to drop what is clearly
    worse, never quoted.

    Args:
        baseline, candidate: with distinct names, or one variant twice.
        workers: that may be open already; one baseline process for all trials puts one bias of
            that process into all of them, which leaves their order as it is.
        costs: names of registered cost metrics.

    Returns:
        `<cost>:gain` overall and per batch size, without interval.
    """
    metrics = _metrics(costs)
    setting = Setting(
        workers.rows,
        workers.serving,
        metrics,
        RANKING_ROUNDS,
        CALLS,
        workers.folder,
        enough=RANKING_SECONDS,
    )
    names = _distinct((baseline, candidate))
    launch = play_launch(names, workers, setting, random.Random(0))
    return tuple(
        gain
        for cost in metrics
        for gain in gain_estimates(names[0].name, names[1].name, [launch], cost, launch.busy)
    )


def claim_costs(
    variants: Sequence[Variant],
    rows: Rows,
    serving: ServingProfile,
    costs: tuple[str, ...],
    plan: ClaimPlan,
    folder: Path,
) -> ClaimResult:
    """Measures variants against the first of them, beside a second copy of it.

    Launches in which others competed for the machine are repeated while time is left. When it is
    up, disturbed launches are used and every timed estimate gets the state `noisy`.

    Args:
        variants: the baseline first; names are distinct.
        rows: from which all draw the same batches.
        serving: the same for all.
        costs: names of registered cost metrics.
        plan: how much measuring.
        folder: for logs while workers run.

    Raises:
        CandidateFailed: if a variant can't be loaded or run.
    """
    metrics = _metrics(costs)
    lengths = lengths_to_show(rows, serving) if any(cost.timed for cost in metrics) else ()
    everyone = (*variants, dataclasses.replace(variants[0], name=SECOND_COPY))
    setting = Setting(
        rows, serving, metrics, plan.rounds, plan.calls, folder, lengths, enough=CLAIM_SECONDS
    )
    unseen = left_out(rows, serving)
    notes = {variant.name: (*_inspected(variant, setting), *unseen) for variant in variants}
    launches, spoiled = _launch_until_quiet(everyone, setting, plan)
    # Chosen by what others did, never by what was measured.
    spoiled.sort(key=lambda launch: launch.contention.other_cores)
    chosen = (launches + spoiled)[: max(plan.launches, plan.fewest)]
    noisy = any(launch.busy for launch in chosen)
    common = _conditions(chosen, len(spoiled), noisy)
    measurements = {
        variant.name: _measurement(
            variants[0], variant, chosen, metrics, (*notes.get(variant.name, ()), *common)
        )
        for variant in everyone
    }
    return ClaimResult(measurements, _noise_floor(variants[0].name, chosen, metrics), noisy)


def _metrics(costs: tuple[str, ...]) -> tuple[CostMetric, ...]:
    return tuple(registry.get("costs", name) for name in costs)


def _distinct(pair: tuple[Variant, Variant]) -> tuple[Variant, Variant]:
    """The same pair, where a variant compared with itself gets a name of its own."""
    first, second = pair
    if first.name == second.name:
        second = dataclasses.replace(second, name=SECOND_COPY)
    return first, second


def _launch_until_quiet(
    variants: Sequence[Variant],
    setting: Setting,
    plan: ClaimPlan,
) -> tuple[list[Launch], list[Launch]]:
    """Launches until enough were quiet or time is up; gives the quiet and the disturbed ones."""
    order = random.Random(plan.seed)
    begun = time.monotonic()
    quiet: list[Launch] = []
    disturbed: list[Launch] = []
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if plan.tick is not None:
            expected = (plan.launches + len(disturbed)) * plan.rounds
            plan.tick(done, max(done, expected))

    while len(quiet) < plan.launches:
        late = time.monotonic() - begun > plan.max_seconds
        late |= plan.max_disturbed is not None and len(disturbed) >= plan.max_disturbed
        if late and len(quiet) + len(disturbed) >= plan.fewest:
            break
        launch = run_launch(variants, setting, order, count)
        (disturbed if launch.busy else quiet).append(launch)
    return quiet, disturbed


def _inspected(variant: Variant, setting: Setting) -> tuple[str, ...]:
    """Loads a variant once, apart from all timing, to see what it runs on."""
    job = SessionJob(
        variant.model,
        variant.runtime,
        setting.rows,
        setting.serving,
        variant.one_by_one,
        inspect=True,
    )
    with WorkerSession(job, setting.folder) as session:
        ready = session.ready
    notes = [f"{count} operators ran on {provider}." for provider, count in ready.providers.items()]
    if ready.batch_dependent and not variant.one_by_one:
        notes.append(
            "A row's answer changes with the rows that share its batch, by up to "
            f"{ready.largest_batch_difference:.2g} of the output's scale."
        )
    if variant.one_by_one:
        notes.append("A call of several rows runs them one by one.")
    return tuple(notes)


def _conditions(launches: Sequence[Launch], disturbed: int, noisy: bool) -> tuple[str, ...]:
    worst = max(launches, key=lambda launch: launch.contention.other_cores)
    notes = [f"Of {len(launches)} launches, in the busiest one {worst.contention}."]
    if disturbed:
        notes.append(f"{disturbed} launches were disturbed by other work on this machine.")
    if noisy:
        notes.append("Too few launches were quiet: the timing is noisy.")
    return tuple(notes)


def _measurement(
    baseline: Variant,
    variant: Variant,
    launches: Sequence[Launch],
    metrics: Sequence[CostMetric],
    notes: tuple[str, ...],
) -> Measurement:
    noisy = any(launch.busy for launch in launches)
    estimates: list[Estimate] = []
    for cost in metrics:
        estimates.extend(cost_estimates(variant.name, launches, cost, noisy))
        if variant.name != baseline.name:
            estimates.extend(gain_estimates(baseline.name, variant.name, launches, cost, noisy))
    found = [launch.cells for launch in launches]
    estimates.extend(cell_estimates(baseline.name, variant.name, found, noisy=noisy))
    estimates.extend(_start_up(variant.name, launches))
    original = variant.name in {baseline.name, SECOND_COPY}
    return Measurement(
        recipe="" if original else variant.name,
        tier="claim",
        estimates=tuple(estimates),
        device=machine.describe_device(),
        notes=notes,
    )


def _start_up(name: str, launches: Sequence[Launch]) -> tuple[Estimate, Estimate]:
    """Load and first call, apart from the steady state."""
    load = log_ratio_interval([math.log(launch.ready[name].load_seconds) for launch in launches])
    first = log_ratio_interval(
        [math.log(launch.ready[name].first_call_seconds * 1e3) for launch in launches]
    )
    return _lower("load_s", load, "s"), _lower("first_call_ms", first, "ms")


def _lower(metric: str, interval: Interval, unit: str) -> Estimate:
    return Estimate(
        metric, OVERALL, interval.value, interval.low, interval.high, interval.n, unit, "lower"
    )


def _noise_floor(baseline: str, launches: Sequence[Launch], metrics: Sequence[CostMetric]) -> float:
    for cost in metrics:
        if cost.timed:
            ratios = launch_log_ratios(baseline, SECOND_COPY, launches, cost)
            interval = log_ratio_interval(ratios)
            return math.exp(max(abs(math.log(interval.low)), abs(math.log(interval.high)))) - 1.0
    return 0.0
