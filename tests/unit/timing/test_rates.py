"""The rates of the machine: measured once, again after a busy moment, and never a reason to stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from jettison import machine, worker_client
from jettison.domain.jobs import RatesJob
from jettison.domain.rates import Level, Rate, Rates
from jettison.errors import WorkerDied
from jettison.timing.rates import machine_rates

FOUND = Rates(
    1,
    (Level("memory", 2**62, Rate(10e9, 9e9, 9)),),
    {"float32": Rate(20e9, 19e9, 9), "int8": Rate(60e9, 58e9, 9)},
)


class Worker:
    """Stands for the worker, which takes seconds."""

    def __init__(self, answer: Rates | Exception = FOUND) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, job: RatesJob) -> Rates:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return dataclasses.replace(self.answer, threads=job.threads)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Worker:
    made = Worker()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(worker_client, "run_rates", made)
    monkeypatch.setattr(machine, "is_busy", lambda *_: False)
    return made


def test_they_are_measured_once(worker: Worker) -> None:
    """The second question is answered from the state folder; another thread count is another one."""
    first = machine_rates(1)
    assert machine_rates(1) == first
    assert worker.asked == 1
    assert machine_rates(2).threads == 2
    assert worker.asked == 2
    assert first.ratio("int8") == pytest.approx(3.0)


def test_a_busy_moment_is_marked_and_measured_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates beside other work are too low: they say so, and give no ratio to count on."""
    monkeypatch.setattr(machine, "is_busy", lambda *_: True)
    busy = machine_rates(1)
    assert busy.busy
    assert "the true peaks are higher" in busy.note
    assert busy.ratio("int8") is None
    assert machine_rates(1) == busy
    assert worker.asked == 1, "still busy: measuring again would be in vain"
    monkeypatch.setattr(machine, "is_busy", lambda *_: False)
    assert not machine_rates(1).busy
    assert worker.asked == 2


def test_what_can_not_be_measured_is_a_note(worker: Worker) -> None:
    """They only inform, so a worker that dies stops nothing."""
    worker.answer = WorkerDied("the rates worker ended")
    found = machine_rates(1)
    assert found.products == {}
    assert "ended" in found.note


def test_a_damaged_file_is_measured_again(worker: Worker, tmp_path: Path) -> None:
    """Half a file of an earlier version is not read."""
    machine_rates(1)
    (place,) = tmp_path.rglob("rates-*.json")
    place.write_text('{"threads": 1')
    assert machine_rates(1).products
    assert worker.asked == 2


def test_a_folder_that_can_not_be_written_stops_nothing(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the place of the state folder: the rates are told, and not kept."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    assert machine_rates(1).products


def test_a_worker_really_measures() -> None:
    """Levels come from the nearest to memory, and each kind of product has a rate."""
    found = worker_client.run_rates(RatesJob(1))
    assert [level.name for level in found.levels][-1] == "memory"
    assert found.products["float32"].peak > 1e8
    assert found.products["int8"].peak > 1e8
    assert found.level_for(2**40) == found.levels[-1]
