"""Runs a program of ours under a Python that has what the program needs: this one, or another's.

Some packages can't lie beside jettison's own (their pins conflict, or they report their use), so the
program imports nothing of jettison: JSON lines go in, one JSON object comes out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from jettison.errors import UsageError, WorkerDied
from jettison.worker_client import QUIET


def ask(program: ModuleType, lines: Iterable[object], python: str = "") -> Any:
    """Gives JSON values to a program, and what it says at its end.

    Args:
        program: the module that is run as a file.
        lines: one JSON value each.
        python: interpreter; empty for this one.

    Raises:
        UsageError: if there is no such interpreter.
        WorkerDied: if it ended without an answer; quotes its last words.
    """
    path = str(Path(str(program.__file__)).absolute())
    given = "".join(f"{json.dumps(line)}\n" for line in lines)
    chosen = python or sys.executable
    try:
        done = subprocess.run(
            [chosen, path],
            input=given,
            capture_output=True,
            encoding="utf-8",
            # As the option -P, which a Python before 3.11 would refuse: our folder is no place of imports.
            env={**os.environ, **QUIET, "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"},
            check=False,
        )
    except OSError as error:
        raise UsageError(f"the interpreter {chosen} can't be run: {error}") from error
    told = done.stdout.strip().splitlines()
    if done.returncode or not told:
        words = " ".join(done.stderr.strip().splitlines()[-3:])
        raise WorkerDied(f"{Path(path).name} ended with {done.returncode}: {words}")
    return json.loads(told[-1])
