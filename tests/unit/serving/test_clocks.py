"""The clock of the machine may jump: only monotonic clocks decide how long anything takes."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import numpy as np
import pytest

import jettison.serving
from jettison.serving.observability import Observability
from jettison.serving.repository import Repository
from jettison.serving.requests import InferenceRequest
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource
from tests.serving_bundle import FEATURES

SOURCE = Path(jettison.serving.__file__).parent


def test_no_serving_module_asks_the_wall_clock_how_long() -> None:
    """`time.time()` and `datetime.now()` stand nowhere; a trace says when it was, and no more."""
    asking = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"\btime\.time(_ns)?\(|datetime\.now\(|\bfrom time import", path.read_text())
    }
    assert asking <= {"observability/tracing.py"}


def test_a_jump_of_the_clock_loses_nothing(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests before and after a jump of years, both ways, are answered within their deadlines."""

    async def run() -> list[float]:
        repository = Repository(
            [ServedSource("m", bundle)], Observability(), ServeSettings(max_batch_rows=8)
        )
        await repository.start()
        waited: list[float] = []
        for jump in (0.0, 4e9, 1.7e9, -4e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: jump)
            values = np.ones((1, FEATURES), dtype=np.float32)
            deadline = time.monotonic() + 20.0
            answer = await repository.infer("m", InferenceRequest({"x": values}, 1, deadline))
            waited.append(answer.queue_seconds)
        await repository.drain()
        return waited

    waited = asyncio.run(run())
    assert len(waited) == 4
    assert all(0.0 <= seconds < 20.0 for seconds in waited)
