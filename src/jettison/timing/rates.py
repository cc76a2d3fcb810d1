"""The rates of this machine, measured once for each state of it and kept in the state folder."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from jettison import machine, worker_client
from jettison.domain.files import write_atomically
from jettison.domain.jobs import RatesJob
from jettison.domain.local_key import state_folder
from jettison.domain.rates import Rates
from jettison.domain.record import digest, from_json, to_json
from jettison.errors import JettisonError

METHOD = 2
"""Of measuring; raised when it changes, so that no rate of the old one is read."""

LOOK_SECONDS = 0.2

TOUCHING = ("numpy", "onnxruntime", "openvino", "torch")


def machine_rates(threads: int) -> Rates:
    """Gives the rates with so many threads; measures them (a few seconds) where none are kept.

    Rates that were measured on a busy machine are kept too, marked, and measured again as soon as
    they are asked for in a quiet moment. Where they can't be measured at all, nothing is known, and the
    note says why: they only inform.
    """
    place = _place(threads)
    kept = _read(place)
    if kept is not None and not (kept.busy and _quiet(threads)):
        return kept
    meter = machine.ContentionMeter([])
    try:
        found = worker_client.run_rates(RatesJob(threads))
    except JettisonError as error:
        return Rates(threads, (), note=f"The rates of this machine could not be measured: {error}.")
    contention = meter.stop(0, 0)
    if machine.is_busy(contention, threads, machine.cores()):
        note = f"{found.note} Measured while {contention}: the true peaks are higher.".strip()
        found = dataclasses.replace(found, busy=True, note=note)
        # The better of two disturbed readings is nearer to the truth.
        found = kept if kept is not None and _better(kept, found) else found
    _keep(place, found)
    return found


def _quiet(threads: int) -> bool:
    """A short look at what others do: on a machine that stays busy, measuring again is in vain."""
    meter = machine.ContentionMeter([])
    time.sleep(LOOK_SECONDS)
    return not machine.is_busy(meter.stop(0, 0), threads, machine.cores())


def _better(kept: Rates, found: Rates) -> bool:
    return sum(r.peak for r in kept.products.values()) > sum(
        r.peak for r in found.products.values()
    )


def _place(threads: int) -> Path:
    device = machine.describe_device()
    facts = {
        "cpu": [device.cpu, device.cpu_class, device.cores],
        "caches": dict(machine.caches()),
        "method": METHOD,
        "system": device.system,
        "threads": threads,
        "versions": {name: device.versions.get(name, "") for name in TOUCHING},
    }
    return state_folder() / "machine" / f"rates-{digest(facts)[:24]}.json"


def _read(place: Path) -> Rates | None:
    try:
        return from_json(Rates, place.read_bytes())
    except (OSError, ValueError):
        return None


def _keep(place: Path, found: Rates) -> None:
    """Keeps them if the disk allows; they can be measured again."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(place.parent, os.W_OK):
            write_atomically(place, to_json(found))
    except OSError:
        return  # No place to keep them is no reason to stop: they were measured, and are told.
