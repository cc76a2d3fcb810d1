"""Finds out where time and bytes go before anything is changed, and what can be seen here."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jettison import machine, registry, worker_client
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import ProfileJob, Variant
from jettison.domain.model import Model
from jettison.domain.profile import LayerCost, LayerLosses, Profile
from jettison.domain.recipe import Step
from jettison.domain.rows import Rows
from jettison.domain.splits import FittingData
from jettison.timing.claims import CALLS, SECOND_COPY
from jettison.timing.estimates import launch_log_ratios
from jettison.timing.launches import Setting, run_launch
from jettison.timing.rates import machine_rates

COST = "latency_ms"
LAUNCHES = 2
ROUNDS = 4
ENOUGH_SECONDS = 8.0
LOWEST_FLOOR = 0.015
"""A pair of processes differs by 1-1.5 % even on a quiet machine; two pairs may miss it. Claims
find their own noise floor, with more launches."""

UNBOUNDED = 1e9


@dataclass(frozen=True, slots=True)
class Sensing:
    """What the sensitivity of layers is found from.

    Attributes:
        fitting: real rows, with right answers where there are some.
        cache: folder of facts that techniques share.
    """

    fitting: FittingData
    cache: Path


def profile(
    model: Model,
    rows: Rows,
    serving: ServingProfile,
    folder: Path,
    raw: Path | None = None,
    sensing: Sensing | None = None,
) -> Profile:
    """Profiles an untouched model on its own runtime.

    Args:
        model: the untouched model.
        rows: encoded rows to run.
        serving: how it will be served.
        folder: for logs while workers run.
        raw: folder with the raw examples (`jettison.domain.raw_examples`), on which the
            encoder is timed; without it, encoding counts as nothing, and a note says so.
        sensing: finds the sensitivity of layers too; `None` leaves it out (made-up rows tell
            nothing about it).
    """
    folder.mkdir(parents=True, exist_ok=True)
    runtime = Step(registry.home_runtime(model.traits).name)
    given = "" if raw is None or not raw.exists() else str(raw.resolve())
    job = ProfileJob(model, runtime, rows, serving, given)
    if sensing is not None:
        cache = str(sensing.cache.resolve())
        job = dataclasses.replace(job, fitting=sensing.fitting, cache=cache)
    answer = worker_client.run_profile(job)
    floor, note = _noise_floor(Variant("baseline", model, runtime), rows, serving, folder)
    share = next(stage.share for stage in answer.stages if stage.name == "model")
    return Profile(
        device=machine.describe_device(),
        serving=serving,
        stages=answer.stages,
        layers=with_losses(answer.layers, answer.losses),
        bound=min(UNBOUNDED, 1.0 / (1.0 - share)) if share < 1.0 else UNBOUNDED,
        noise_floor=floor,
        size_bytes=model.artifact.size_bytes,
        notes=(*answer.notes, note) if note else answer.notes,
        sensitivity_note=_sensitivity_note(answer.losses),
        rates=machine_rates(serving.threads),
        layer_ms=answer.layer_ms,
        layer_batch=answer.layer_batch,
    )


def with_losses(layers: Sequence[LayerCost], found: LayerLosses | None) -> tuple[LayerCost, ...]:
    """Puts what each layer loses beside what it costs.

    A layer that the runtime merged into another, and shows no cost of, is left out.
    """
    losses = {} if found is None else found.losses
    return tuple(dataclasses.replace(c, sensitivity=losses.get(c.name)) for c in layers)


def _sensitivity_note(found: LayerLosses | None) -> str:
    return "" if found is None else f"{found.note} It took {found.seconds:.1f} s."


def layers(model: Model, rows: Rows, serving: ServingProfile) -> tuple[LayerCost, ...]:
    """Gives the layers of a model on its own runtime, without stages and noise floor.

    For a model that was carried over to a format whose runtime can tell its layers apart.
    """
    runtime = Step(registry.home_runtime(model.traits).name)
    return worker_client.run_profile(ProfileJob(model, runtime, rows, serving, stages=False)).layers


def _noise_floor(
    variant: Variant, rows: Rows, serving: ServingProfile, folder: Path
) -> tuple[float, str]:
    """Compares the model with itself in a few launches; gives the largest difference seen."""
    copy = Variant(SECOND_COPY, variant.model, variant.runtime)
    cost = registry.get("costs", COST)
    setting = Setting(rows, serving, (cost,), ROUNDS, CALLS, folder, enough=ENOUGH_SECONDS)
    order = random.Random(0)
    launches = [run_launch((variant, copy), setting, order) for _ in range(LAUNCHES)]
    ratios = launch_log_ratios(variant.name, SECOND_COPY, launches, cost)
    floor = max(LOWEST_FLOOR, max(math.expm1(abs(ratio)) for ratio in ratios))
    busy = [launch for launch in launches if launch.busy]
    note = f"The noise floor was found while {busy[0].contention}." if busy else ""
    return floor, note
