"""Environments of the peers: made once, one for each, so that none decides another's versions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ONNXRUNTIME = "onnxruntime==1.32.0"
PACKAGES = {
    "mosec": ("mosec==0.9.8",),
    "litserve": ("litserve==0.2.19",),
    "mlserver": ("mlserver==1.7.1",),
    "bentoml": ("bentoml==1.4.40",),
}
SCRIPTS = Path(__file__).resolve().parent.parent / "peers"
INSTALL_SECONDS = 600.0


class NotInstalled(Exception):
    """A peer's environment could not be made; the message says why."""


def interpreter(name: str, home: Path) -> Path:
    """The Python of a peer's environment, which is made where it is missing.

    Args:
        name: a key of `PACKAGES`.
        home: folder of all environments.

    Raises:
        NotInstalled: if pip could not install it.
    """
    folder = home / name
    python = folder / "bin" / "python"
    done = folder / ".installed"
    wanted = " ".join((ONNXRUNTIME, *PACKAGES[name]))
    if done.exists() and done.read_text() == wanted:
        return python
    log = home / f"{name}-install.log"
    home.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as out:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", ONNXRUNTIME, *PACKAGES[name]],
        ):
            ended = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, timeout=INSTALL_SECONDS, check=False
            )
            if ended.returncode:
                last = log.read_text(errors="replace").strip().splitlines()[-1:]
                raise NotInstalled(f"pip could not install it: {' '.join(last)[:300]}")
    done.write_text(wanted)
    return python


def version_of(name: str, home: Path) -> str:
    """The installed version of a peer."""
    code = f"from importlib.metadata import version; print(version('{name}'))"
    python = home / name / "bin" / "python"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()
