"""Starts `jettison serve` as a user does, in a process of its own, and asks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import numpy as np
import psutil

START_SECONDS = 90.0
END_SECONDS = 60.0


class ServeProcess:
    """A running server; the block ends it.

    Args:
        place: an empty folder for its output, its ready file and its temporary files.
        words: arguments of `jettison serve`; ports are chosen by the system.
        wait: whether to wait until it is ready.
    """

    def __init__(self, place: Path, *words: str, wait: bool = True) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.ready_file = place / "ready.json"
        self.temporary = place / "tmp"
        self.temporary.mkdir(exist_ok=True)
        ports = [] if "--port" in words else ["--port", "0"]
        ports += [] if "--grpc-port" in words or "--no-grpc" in words else ["--grpc-port", "0"]
        self.command = [
            sys.executable,
            "-m",
            "jettison",
            "serve",
            *words,
            *ports,
            "--ready-file",
            str(self.ready_file),
        ]
        self._wait = wait
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> ServeProcess:
        with open(self.place / "stdout", "wb") as out, open(self.place / "stderr", "wb") as err:
            self.process = subprocess.Popen(
                self.command,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"},
            )
        if self._wait:
            self.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_SECONDS)

    def wait_ready(self) -> None:
        """Waits for the ready file; fails with what the server said if it ends before."""
        until = time.monotonic() + START_SECONDS
        while not self.ready_file.exists():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended ({self.process.returncode}):\n{self.told}")
            if time.monotonic() > until:
                raise AssertionError(f"the server is not ready:\n{self.told}")
            time.sleep(0.02)
        self.facts = json.loads(self.ready_file.read_text())

    @property
    def told(self) -> str:
        """All that it has printed so far."""
        return (self.place / "stdout").read_text() + (self.place / "stderr").read_text()

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Its log lines."""
        lines = (self.place / "stderr").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def url(self) -> str:
        """Address of HTTP."""
        return str(self.facts["http"])

    @property
    def pid(self) -> int:
        """Of the server."""
        return self.process.pid

    def end(self, signal_number: int) -> int:
        """Sends a signal and gives the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(END_SECONDS)

    def family(self) -> list[psutil.Process]:
        """The server with its children, as they are now."""
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]


def infer_body(rows: np.ndarray, name: str = "x") -> dict[str, Any]:
    """An inference request for float32 rows, as JSON."""
    tensor = {
        "name": name,
        "shape": list(rows.shape),
        "datatype": "FP32",
        "data": rows.ravel().tolist(),
    }
    return {"inputs": [tensor]}


def scores_of(answer: httpx.Response) -> np.ndarray:
    """The first output of an answer."""
    output = answer.json()["outputs"][0]
    return np.array(output["data"], dtype=np.float32).reshape(output["shape"])


def metric(text: str, name: str, **labels: str) -> float:
    """Sum of the samples of a metric that have these labels."""
    total = 0.0
    for line in text.splitlines():
        if not line.startswith((f"{name}{{", f"{name} ")):
            continue
        told, _, value = line.rpartition(" ")
        if all(f'{key}="{wanted}"' in told for key, wanted in labels.items()):
            total += float(value)
    return total
