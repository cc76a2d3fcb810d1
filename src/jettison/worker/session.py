"""Serves one prepared model over the pipe: `burst`, `rewind`, `score`, `resources`, `quit`."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jettison import machine, registry
from jettison.domain.jobs import Ready, Resources, SessionJob
from jettison.domain.record import from_json, to_plain
from jettison.domain.rows import Rows
from jettison.errors import DataError
from jettison.worker.bursts import Bursts
from jettison.worker.channel import Channel
from jettison.worker.jobs import failure_of
from jettison.worker.neighbours import batch_dependence
from jettison.worker.scoring import score
from jettison.worker.workbench import prepare

Request = Mapping[str, Any]


def serve(job: Path, channel: Channel) -> None:
    """Loads the model, says `Ready`, and answers commands until `quit`.

    Raises:
        Exception: whatever a command raised, after it was answered with a `Failure`: a session
            that failed once is not trusted again.
    """
    try:
        server = Server(from_json(SessionJob, job.read_bytes()))
        _answer(channel, server.ready)
        while True:
            request = json.loads(channel.receive())
            if request["command"] == "quit":
                return
            _answer(channel, server.commands[request["command"]](request))
    except Exception as error:
        channel.send(json.dumps({"failure": to_plain(failure_of(error))}))
        raise


def _answer(channel: Channel, record: object) -> None:
    channel.send(json.dumps({"answer": to_plain(record)}, allow_nan=False))


class Server:
    """One prepared model."""

    def __init__(self, job: SessionJob) -> None:
        if job.rows.n < 1:
            raise DataError(f"a session needs at least one row; {job.rows.folder} has none")
        self._job = job
        runtime = registry.get("runtimes", job.runtime.name)
        registry.require_packages(runtime)
        for package in runtime.packages:
            importlib.import_module(package)
        self._base = machine.memory_bytes()
        begun = time.perf_counter()
        self._runner = prepare(job.model, job.runtime, job.serving)
        loaded = time.perf_counter()
        self._runner.run(job.rows.batch(slice(0, 1)))
        first = time.perf_counter()
        largest = max(job.serving.batch_sizes)
        batched = batch_dependence(self._runner, job.rows, job.model, largest)
        self._bursts = Bursts(self._runner, job.rows, job.one_by_one)
        self.ready = Ready(
            # A server starts without what an earlier worker of this run has compiled.
            load_seconds=loaded - begun + getattr(self._runner, "saved_seconds", 0.0),
            first_call_seconds=first - loaded,
            base_memory_bytes=self._base,
            batch_dependent=batched.dependent,
            largest_batch_difference=batched.largest,
            providers=self._runner.providers() if job.inspect else {},
        )
        self.commands: dict[str, Callable[[Request], object]] = {
            "burst": self._burst,
            "score": self._score,
            "resources": self._resources,
            "rewind": self._rewind,
        }

    def _burst(self, request: Request) -> object:
        size, calls = int(request["batch_size"]), int(request["calls"])
        return self._bursts.run(size, calls, int(request.get("length", 0)))

    def _score(self, request: Request) -> object:
        rows = from_json(Rows, json.dumps(request["rows"]))
        size = 1 if self._job.one_by_one else int(request["batch_size"])
        return score(self._runner, self._job.model, rows, Path(request["folder"]), size)

    def _rewind(self, request: Request) -> object:
        self._bursts.rewind()
        return self._resources(request)

    def _resources(self, request: Request) -> object:
        return Resources(machine.peak_memory_bytes(), self._base, time.process_time())
