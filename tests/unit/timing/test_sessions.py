"""Workers that stay open between questions."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from jettison.domain.device import ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.model import Model
from jettison.domain.recipe import Step
from jettison.domain.rows import Rows
from jettison.errors import WorkerDied
from jettison.timing.sessions import Sessions

ORT = Step("onnx_runtime")


def test_one_worker_answers_everything_about_a_variant(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """The same variant gets the same process; another one under its name gets a new one."""
    with Sessions(rows, serving, tmp_path) as workers:
        first = workers.of(Variant("x", network, ORT))
        assert workers.of(Variant("x", network, ORT)) is first
        alone = workers.of(Variant("x", network, ORT, one_by_one=True))
        assert alone.pid != first.pid
        assert first.closed


def test_all_workers_end_with_the_block(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """An error inside leaves no process behind, and no logs."""
    found = []

    def leave() -> None:
        with Sessions(rows, serving, tmp_path) as workers:
            found.extend(workers.of(Variant(name, network, ORT)).pid for name in ("a", "b"))
            raise KeyError("in the block")

    with pytest.raises(KeyError, match="in the block"):
        leave()
    assert len(found) == 2
    assert not any(psutil.pid_exists(pid) for pid in found)
    assert list(tmp_path.glob("worker-*")) == []


def test_a_worker_that_died_is_replaced(
    network: Model, rows: Rows, serving: ServingProfile, tmp_path: Path
) -> None:
    """The question that met the dead worker fails; the next one meets a new worker."""
    variant = Variant("x", network, ORT)
    with Sessions(rows, serving, tmp_path) as workers:
        first = workers.of(variant)
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            first.burst(1, 1)
        assert len(workers.of(variant).burst(1, 2).seconds) == 2
