"""The pipes to the parent: protocol lines only, whatever a library prints."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading

PIECE = 65536


class Channel:
    """Reads commands from the parent and writes answers to it.

    A thread reads the pipe all the time. When it closes, the parent is gone (or wants us gone),
    and the whole process group is killed at once, even in the middle of a native call. This is
    safer than PR_SET_PDEATHSIG, which fires when the parent's *thread* ends, and which has to be
    set between fork and exec.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._answers = answers
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(commands,), daemon=True).start()

    @classmethod
    def take_over(cls) -> Channel:
        """Keeps the two pipes for the protocol, and points stdout at stderr for everyone else."""
        commands, answers = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        sys.stdout.flush()
        os.dup2(2, 1)
        return cls(commands, answers)

    def receive(self) -> bytes:
        """Waits for the next line."""
        return self._lines.get()

    def send(self, line: str) -> None:
        """Writes one line."""
        left = memoryview(line.encode() + b"\n")
        while left:
            left = left[os.write(self._answers, left) :]

    def _listen(self, commands: int) -> None:
        pending = b""
        while True:
            piece = os.read(commands, PIECE)
            if not piece:
                _end_group()
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                self._lines.put(line)


def _end_group() -> None:
    """Ends this process and whatever it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
