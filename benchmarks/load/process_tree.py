"""What a server and all its processes used, and how they are stopped, resumed and ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a tree of processes.

    Attributes:
        rss_bytes: sum of resident sets; pages that processes share are counted in each.
        pss_bytes: sum of proportional sets; shared pages are divided.
        processes: in the tree.
    """

    rss_bytes: int
    pss_bytes: int
    processes: int


class ProcessTree:
    """A process that we started, with everything that it started.

    The processes of the tree are known by their ids from when they were last seen as descendants,
    so that orphans of a server that leaves its children behind are still ours to end.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._known: dict[int, psutil.Process] = {}
        self._gone_seconds: dict[int, float] = {}
        self._refresh()

    @classmethod
    def start(
        cls, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path
    ) -> ProcessTree:
        """Starts a server in a session of its own; both outputs go to `log`."""
        with open(log, "wb") as out:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        return cls(process)

    def _refresh(self) -> list[psutil.Process]:
        """The living processes of the tree."""
        for parent in list(self._known.values()) or [psutil.Process(self.process.pid)]:
            try:
                for one in (parent, *parent.children(recursive=True)):
                    self._known.setdefault(one.pid, one)
            except psutil.NoSuchProcess:
                continue
        return [one for one in self._known.values() if one.is_running()]

    def cpu_seconds(self) -> float:
        """User and system seconds of all processes of the tree so far, ended ones as last seen."""
        for one in self._refresh():
            try:
                times = one.cpu_times()
            except psutil.NoSuchProcess:
                continue
            self._gone_seconds[one.pid] = times.user + times.system
        return sum(self._gone_seconds.values())

    def memory(self) -> Memory:
        """Memory of all processes of the tree now."""
        rss = pss = count = 0
        for one in self._refresh():
            try:
                full = one.memory_full_info()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            rss, pss, count = rss + full.rss, pss + full.pss, count + 1
        return Memory(rss, pss, count)

    def rss_bytes(self) -> int:
        """Sum of the resident sets now; cheap enough to be polled."""
        total = 0
        for one in self._refresh():
            try:
                total += one.memory_info().rss
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return total

    def pause(self) -> None:
        """Stops every process, so that an idle server can't disturb another's turn."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets every process go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> tuple[int, ...]:
        """Asks the first process to end; gives the ids of those left over, which are killed."""
        self._refresh()
        self.resume()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _, left = psutil.wait_procs(list(self._known.values()), timeout=1.0)
        for one in left:
            one.kill()
        psutil.wait_procs(left, timeout=END_SECONDS)
        return tuple(one.pid for one in left)

    def _signal(self, number: int) -> None:
        for one in self._refresh():
            try:
                one.send_signal(number)
            except psutil.NoSuchProcess:
                continue
