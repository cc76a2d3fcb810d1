"""One launch: workers that were open before, and new ones, meet the same rows."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Burst, Ready, Resources, Variant
from jettison.domain.measurement import OVERALL
from jettison.metrics.latency import LatencyMs
from jettison.timing.estimates import gain_estimates
from jettison.timing.launches import Setting, play_launch


class Ragged:
    """A session whose calls take as long as the row that comes next is."""

    pid = os.getpid()
    ready = Ready(0.1, 0.1, 1)

    def __init__(self, place: int) -> None:
        self.place = place

    def rewind(self) -> None:
        self.place = 0

    def burst(self, batch_size: int, calls: int, length: int = 0) -> Burst:
        lengths = [0.001 * (1 + (self.place + call) * 7 % 40) for call in range(calls)]
        self.place += calls
        return Burst(tuple(lengths), sum(lengths), 0)

    def resources(self) -> Resources:
        return Resources(1, 1, 0.0)


class Open:
    """Workers that are open already."""

    def __init__(self, **sessions: Ragged) -> None:
        self.sessions = sessions

    def of(self, variant: Variant) -> Ragged:
        return self.sessions[variant.name]


def test_a_worker_that_was_open_before_begins_anew(tmp_path: Path) -> None:
    """Otherwise a model as fast as the original would seem faster or slower, by other lengths."""
    workers: Any = Open(baseline=Ragged(31), x=Ragged(0))
    variants: Any = [Variant(name, None, None) for name in ("baseline", "x")]  # type: ignore[arg-type]
    rows: Any = None
    setting = Setting(rows, ServingProfile(), (LatencyMs(),), 6, 5, tmp_path)
    launch = play_launch(variants, workers, setting, random.Random(0))
    gains = gain_estimates("baseline", "x", [launch], LatencyMs(), False)
    found = {gain.group: gain.value for gain in gains}
    assert found[OVERALL] == pytest.approx(1.0)


@pytest.mark.parametrize(("enough", "rounds"), [(1e9, 6), (0.0, 3)])
def test_rounds_that_take_long_are_fewer(tmp_path: Path, enough: float, rounds: int) -> None:
    """The same for all, and never fewer than a median needs."""
    workers: Any = Open(baseline=Ragged(0), x=Ragged(0))
    variants: Any = [Variant(name, None, None) for name in ("baseline", "x")]  # type: ignore[arg-type]
    rows: Any = None
    cost = LatencyMs()
    setting = Setting(rows, ServingProfile(), (cost,), 6, 5, tmp_path, enough=enough)
    launch = play_launch(variants, workers, setting, random.Random(0))
    assert [len(launch.rounds[name][cost.name]) for name in ("baseline", "x")] == [rounds, rounds]
