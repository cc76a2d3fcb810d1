"""How many rows a batch should hold."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.model import Model
from jettison.domain.rows import Batch, Rows
from jettison.serving import knee
from jettison.serving.engine import Engine
from jettison.serving.knee import chosen_cap, measure_knee
from tests.serving_bundle import Made, make_model, make_rows
from tests.serving_engines import load


@pytest.mark.parametrize(
    ("seconds", "cap"),
    [
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 8),
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),
        ({1: 1.0, 2: 1.02, 4: 1.9, 8: 3.8}, 4),
        ({1: 1.0, 2: 1.02, 4: 1.97, 8: 3.9}, 2),
        ({1: 1.0, 2: 1.8, 4: 5.0}, 2),
        ({1: 0.0, 2: 0.0}, 1),
        ({}, 1),
    ],
)
def test_the_cap_is_the_smallest_batch_that_is_nearly_the_fastest(
    seconds: dict[int, float], cap: int
) -> None:
    """Within 5 % of the best rows per second; never less than 1."""
    assert chosen_cap(seconds) == cap


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Model, Rows]:
    how = Made(probes=8)
    return make_model(tmp_path / "model", how), make_rows(tmp_path / "rows", how)


def measured(model: Model, rows: Rows, largest: int, target: float = 10.0) -> knee.Knee:
    async def measure() -> knee.Knee:
        engine = await load(model)
        try:
            return await measure_knee(engine, rows, largest, target)
        finally:
            engine.close()

    return asyncio.run(measure())


def test_a_small_network_gains_from_batches(parts: tuple[Model, Rows]) -> None:
    """Where a call costs more than its rows, rows share it; fewer rows than a batch are repeated."""
    found = measured(*parts, 12)
    assert set(found.seconds_by_rows) <= {1, 2, 4, 8, 12}
    assert found.max_batch_rows in found.seconds_by_rows
    assert found.max_batch_rows >= 4
    assert all(seconds > 0 for seconds in found.seconds_by_rows.values())


def test_a_target_that_nothing_meets_leaves_single_rows(parts: tuple[Model, Rows]) -> None:
    """A batch would only be later still."""
    found = measured(*parts, 64, target=1e-9)
    assert found.max_batch_rows == 1
    assert set(found.seconds_by_rows) == {1}


@pytest.mark.parametrize("trait", ["fixed-batch", "batch-dependent"])
def test_models_that_are_served_row_by_row_are_not_swept(
    parts: tuple[Model, Rows], trait: str
) -> None:
    """Their cap is 1; the time of one row is still measured."""
    model, rows = parts
    fixed = dataclasses.replace(
        model, inputs=tuple(dataclasses.replace(s, shape=(1, *s.shape[1:])) for s in model.inputs)
    )
    marked = (fixed if trait == "fixed-batch" else model).with_traits(
        add=frozenset({trait}), remove=frozenset()
    )
    found = measured(marked, rows, 64)
    assert found.max_batch_rows == 1
    assert set(found.seconds_by_rows) == {1}


class Clocked(Engine):
    """A real engine on a clock of its own: a call takes `fixed + each * rows` seconds."""

    fixed = 0.0
    each = 0.0
    now = 0.0
    largest = 0

    async def run(self, batch: Batch) -> dict[str, np.ndarray]:
        answer = await super().run(batch)
        self.largest = max(self.largest, len(batch["x"]))
        self.now += self.fixed + self.each * len(batch["x"])
        return answer


def clocked(
    parts: tuple[Model, Rows], monkeypatch: pytest.MonkeyPatch, cost: tuple[float, float, float]
) -> tuple[knee.Knee, Clocked]:
    """Measures with calls that cost (fixed seconds, seconds per row), under a target."""
    model, rows = parts

    async def measure() -> tuple[knee.Knee, Clocked]:
        engine = await load(model)
        slow = Clocked(engine.model, engine._runner, engine._thread)
        slow.fixed, slow.each, target = cost
        monkeypatch.setattr(knee.time, "perf_counter", lambda: slow.now)
        try:
            return await measure_knee(slow, rows, 1024, target), slow
        finally:
            engine.close()

    return asyncio.run(measure())


def test_the_cap_keeps_the_target(
    parts: tuple[Model, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that would be quicker per row but takes longer than the target is not the cap."""
    found, _ = clocked(parts, monkeypatch, (0.001, 0.0005, 0.01))
    assert found.max_batch_rows == 16
    assert found.seconds_by_rows[16] == pytest.approx(0.009)
    assert found.seconds_by_rows[32] == pytest.approx(0.017)
    assert max(found.seconds_by_rows) == 32


def test_the_sweep_is_bounded_in_time(
    parts: tuple[Model, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow model is run a few times and no more: a call that would not fit isn't begun."""
    found, engine = clocked(parts, monkeypatch, (0.0, 0.5, 100.0))
    assert found.max_batch_rows == 1
    assert engine.now <= 2 * knee.BUDGET_SECONDS + 2 * 0.5 * engine.largest
