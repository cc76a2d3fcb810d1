"""One server under test: how it is started, when it is ready, what it uses, how it is stopped."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import psutil

from benchmarks.load.connection import Address, ask, connect
from benchmarks.load.loops import close_all, run
from benchmarks.load.process_tree import ProcessTree

START_SECONDS = 120.0
POLL_SECONDS = 0.05
HOST = "127.0.0.1"


class NotStarted(Exception):
    """A server did not answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a server is started.

    Attributes:
        name: of the server.
        command, environment, folder: of its first process.
        port: on which it answers HTTP.
        first: a request that it answers with 200 once it is ready.
        grpc_port: 0 for none.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    port: int
    first: bytes
    grpc_port: int = 0


@dataclass(slots=True)
class Server:
    """A server that runs (or is paused).

    Attributes:
        ready_seconds: from its start to its first right answer.
        idle_percent: CPU of the whole tree while nobody asked, in percent of one core.
    """

    recipe: Recipe
    tree: ProcessTree
    ready_seconds: float
    idle_percent: float = float("nan")
    notes: list[str] = field(default_factory=list)

    @property
    def address(self) -> Address:
        """Where it answers HTTP."""
        return Address(HOST, self.recipe.port)

    def measure_idle(self, seconds: float) -> None:
        """Lets it run alone for a while without a request."""
        self.tree.resume()
        time.sleep(1.0)
        begun, used = time.perf_counter(), self.tree.cpu_seconds()
        time.sleep(seconds)
        spent = self.tree.cpu_seconds() - used
        self.idle_percent = 100.0 * spent / (time.perf_counter() - begun)
        self.tree.pause()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


def start(recipe: Recipe, logs: Path) -> Server:
    """Starts a server and waits for its first right answer.

    Raises:
        NotStarted: if it ends, or does not answer in time; says what its log says last.
    """
    log = logs / f"{recipe.name.replace(' ', '-')}.log"
    begun = time.perf_counter()
    tree = ProcessTree.start(recipe.command, log, recipe.environment, recipe.folder)
    last = "no answer"
    while time.perf_counter() < begun + START_SECONDS:
        if tree.process.poll() is not None:
            tree.end()
            raise NotStarted(f"it ended with {tree.process.returncode}: {_last_line(log)}")
        try:
            status = run(_first_answer(recipe))
        except OSError as error:
            last = str(error)
        else:
            if status == 200:
                return Server(recipe, tree, time.perf_counter() - begun)
            last = f"status {status}"
        time.sleep(POLL_SECONDS)
    tree.end()
    raise NotStarted(f"it was not ready in {START_SECONDS:.0f} s ({last}): {_last_line(log)}")


async def _first_answer(recipe: Recipe) -> int:
    connection = await connect(Address(HOST, recipe.port))
    try:
        async with asyncio.timeout(10.0):
            return (await ask(connection, recipe.first)).status
    except TimeoutError:
        return 0
    finally:
        await close_all([connection])


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "its log is empty"


class RawRunner:
    """`peers/raw.py`: batches in a process without a server; blocks while it has no turn.

    Attributes:
        load_seconds: that opening the model took: every server has to do that too.
    """

    def __init__(self, scripts: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(scripts / "raw.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=scripts,
            env=dict(environment),
            text=True,
        )
        self._questions = cast(IO[str], self._process.stdin)
        self._answers = cast(IO[str], self._process.stdout)
        self.load_seconds = float(self._read()["load_seconds"])

    def cpu_seconds(self) -> float:
        """User and system seconds of its process so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def timed(self, seconds: float) -> Mapping[str, Any]:
        """Runs full batches; gives `rows`, `seconds`, `cpu_seconds`, `call_seconds`."""
        self._questions.write(f"run {seconds}\n")
        self._questions.flush()
        return self._read()

    def end(self) -> None:
        """Ends the process."""
        self._questions.close()
        self._process.wait(10.0)
        self._answers.close()

    def _read(self) -> Mapping[str, Any]:
        line = self._answers.readline()
        if not line:
            raise NotStarted("the raw runner ended")
        found: Mapping[str, Any] = json.loads(line)
        return found
