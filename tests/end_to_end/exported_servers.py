"""Free ports, and processes that serve an export."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def environment(**more: str) -> dict[str, str]:
    """The variables of this process, with its Python first on the path, as in the image."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process in a folder; killed at the end if it still runs. Its words go to `server.log`."""
    with open(folder.parent / "server.log", "w") as log:
        process = subprocess.Popen(
            list(command), cwd=folder, env=dict(variables), stdout=log, stderr=log, text=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_until(command: Sequence[str], process: subprocess.Popen[str], folder: Path) -> None:
    """Waits until a command succeeds; fails if the server ends before."""
    for _ in range(240):
        if subprocess.run(list(command), capture_output=True, env=environment()).returncode == 0:
            return
        assert process.poll() is None, (folder.parent / "server.log").read_text()[-3000:]
        time.sleep(0.25)
    raise AssertionError((folder.parent / "server.log").read_text()[-3000:])


def compare(folder: Path, address: str, name: str, probes: Path, *more: str) -> tuple[int, str]:
    """Runs the exported program that compares a server's answers; gives exit code and words."""
    words = [sys.executable, str(folder / "check_answers.py"), address, name, *more]
    done = subprocess.run([*words, "--probes", str(probes)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
