"""Measures in a worker how fast this machine reads and multiplies, with the threads it was given."""

from __future__ import annotations

import time

import numpy as np

from jettison import machine, registry
from jettison.domain.device import ServingProfile
from jettison.domain.jobs import RatesJob
from jettison.domain.rates import Level, Rate, Rates, TellsRates

OUTSIDE = 4
"""Times the largest cache: a working set that no cache holds, though some hold hundreds of MB."""

SHARE = 4
"""No more than this part of the memory is taken for it."""

SMALLEST = 1 << 26
"""Bytes of it where the caches are small, or the system does not tell their sizes."""

BEYOND = 1 << 62


def measure(job: RatesJob) -> Rates:
    """Reads vectors from each cache and from memory, and asks each runtime for its products."""
    begun = time.monotonic()
    caches = machine.caches()
    levels = [
        Level(name, size, _reading_rate(size // 2)) for name, size in caches.items() if name != "L1"
    ]
    largest = max(caches.values(), default=0)
    room = machine.describe_device().memory_bytes // SHARE
    outside = max(SMALLEST, min(OUTSIDE * largest, room))
    levels.append(Level("memory", BEYOND, _reading_rate(outside)))
    products, notes = _products(ServingProfile(threads=job.threads))
    return Rates(
        job.threads,
        tuple(levels),
        products,
        seconds=time.monotonic() - begun,
        note=" ".join(notes),
    )


def _products(serving: ServingProfile) -> tuple[dict[str, Rate], list[str]]:
    """The best of what installed runtimes reach, and what could not be measured."""
    found: dict[str, Rate] = {}
    notes = []
    for name in registry.names("runtimes"):
        runtime = registry.get("runtimes", name)
        if not isinstance(runtime, TellsRates) or registry.hindrance(runtime):
            continue
        try:
            told = runtime.product_rates(serving)
        except Exception as failure:  # noqa: BLE001 - a fault of one runtime is a note
            notes.append(f"`{name}` could not be asked for its rates: {failure}.")
            continue
        for kind, rate in told.items():
            if kind not in found or rate.peak > found[kind].peak:
                found[kind] = rate
    return found, notes


def _reading_rate(size: int) -> Rate:
    """Bytes per second that a scalar product of two vectors reads, `size` bytes together."""
    half = max(1, size // 8)
    first, second = np.ones(half, np.float32), np.ones(half, np.float32)
    return Rate.reached(lambda: np.dot(first, second), 8 * half)
