"""Timed calls: which batches they run, and in which order."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.profile import LayerCost
from jettison.domain.rows import LENGTHS, Rows
from jettison.worker.bursts import Bursts


class Recorder:
    """A runner that remembers what it was asked, and takes `seconds` for each row."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.shapes: list[tuple[int, ...]] = []
        self.firsts: list[float] = []

    def run(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Spins for as long as the model would compute."""
        self.shapes.append(batch["x"].shape)
        self.firsts.append(float(batch["x"][0, 0]))
        spin(self.seconds)
        return {"y": batch["x"]}

    def providers(self) -> Mapping[str, int]:
        return {}

    def layer_costs(self, batch: Mapping[str, Any]) -> tuple[LayerCost, ...]:
        return ()


def spin(seconds: float) -> None:
    import time

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def numbered(folder: Path, n: int) -> Rows:
    np.save(folder / "x.npy", np.arange(n, dtype=np.float32)[:, None].repeat(3, axis=1))
    return Rows(str(folder), ("x",), n)


def test_two_variants_of_different_speed_meet_the_same_batches(tmp_path: Path) -> None:
    """With ragged rows, a timed call stays with its batch however often it is repeated."""
    rows = numbered(tmp_path, 12)
    np.save(tmp_path / f"{LENGTHS}.npy", np.tile([1, 2, 3], 4))
    ragged = Rows(rows.folder, rows.names, rows.n, {"x": 0.0})
    met = []
    for seconds in (0.0, 0.025):
        runner = Recorder(seconds)
        bursts = Bursts(runner, ragged, one_by_one=False)
        bursts.run(1, 1)
        runner.firsts.clear()
        for _ in range(3):
            bursts.run(1, 2)
        met.append(list(dict.fromkeys(runner.firsts)))
    assert met[0] == met[1]
    assert len(met[0]) > 2


def test_short_calls_are_repeated_over_the_deck(tmp_path: Path) -> None:
    """Repeats of a short call go through many rows, not one row again and again."""
    runner = Recorder(0.0)
    burst = Bursts(runner, numbered(tmp_path, 40), one_by_one=False).run(1, 2)
    assert len(set(runner.firsts)) == 40
    assert len(burst.seconds) == 2


def test_rows_one_by_one_run_alone(tmp_path: Path) -> None:
    """A call of four rows is four calls of one row where rows must not share a batch."""
    runner = Recorder(0.03)
    Bursts(runner, numbered(tmp_path, 8), one_by_one=True).run(4, 1)
    assert set(runner.shapes) == {(1, 3)}


def test_few_rows_wrap_around(tmp_path: Path) -> None:
    """A batch larger than the rows at hand is filled by going round."""
    runner = Recorder(0.03)
    Bursts(runner, numbered(tmp_path, 3), one_by_one=False).run(8, 1)
    assert set(runner.shapes) == {(8, 3)}


def test_cpu_time_is_that_of_one_call(tmp_path: Path) -> None:
    """Repeats are divided out of wall time and processor time alike."""
    runner = Recorder(0.0)
    burst = Bursts(runner, numbered(tmp_path, 8), one_by_one=False).run(1, 4)
    assert 0 < burst.cpu_seconds < 4 * 0.02
    assert sum(burst.seconds) < 4 * 0.02


def test_a_session_that_was_rewound_meets_the_batches_of_a_new_one(tmp_path: Path) -> None:
    """The original's worker stays open over a search; each candidate must meet the same lengths."""
    rows = numbered(tmp_path, 12)
    np.save(tmp_path / f"{LENGTHS}.npy", np.tile([1, 2, 3], 4))
    ragged = Rows(rows.folder, rows.names, rows.n, {"x": 0.0})
    old, new = Recorder(0.025), Recorder(0.025)
    before, after = (Bursts(runner, ragged, one_by_one=False) for runner in (old, new))
    before.run(1, 5)
    before.rewind()
    after.run(1, 0)
    old.firsts.clear()
    new.firsts.clear()
    before.run(1, 3)
    after.run(1, 3)
    assert old.firsts == new.firsts


def test_long_calls_are_warmed_up_by_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of seconds has nothing left to warm up; a first one that was slow by chance has."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class Slow(Recorder):
        def run(self, batch: Mapping[str, Any]) -> dict[str, Any]:
            self.shapes.append(batch["x"].shape)
            clock[0] += self.seconds if len(self.shapes) > 1 else 5.0
            return {"y": batch["x"]}

    steady = Slow(5.0)
    burst = Bursts(steady, numbered(tmp_path, 8), one_by_one=False).run(1, 2)
    assert burst.seconds == (5.0, 5.0)
    assert len(steady.shapes) == 2 + 1 + 2
    once = Slow(0.001)
    burst = Bursts(once, numbered(tmp_path, 8), one_by_one=False).run(1, 1)
    assert burst.seconds == pytest.approx((0.001,))
    assert len(once.shapes) > 20
