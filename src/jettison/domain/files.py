"""Writing to disk so that a crash leaves the old or the new, never a half."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jettison.errors import Busy


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Writes a file beside its place, syncs it to disk and renames it into place."""
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.part")
    payload = data.encode() if isinstance(data, str) else data
    try:
        with open(temporary, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_folder(temporary: Path, final: Path) -> None:
    """Syncs every file of a finished folder and renames it into place.

    A folder that stands there already is moved aside first and removed last, so that at every
    moment a whole one exists under one of the two names.
    """
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        elif path.is_dir():
            sync_folder(path)
    sync_folder(temporary)
    aside = final.with_name(f".{final.name}.{os.getpid()}.old")
    if final.exists():
        os.replace(final, aside)
    os.replace(temporary, final)
    sync_folder(final.parent)
    if aside.exists():
        shutil.rmtree(aside)


@contextlib.contextmanager
def exclusive_lock(path: Path, holder: str) -> Iterator[None]:
    """Holds a lock file for as long as the block runs; freed by the system if we die.

    Raises:
        Busy: at once, if another process holds it. `holder` says what that process is doing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy(
                f"{holder} (lock file {path}); wait for it to end, or choose another folder"
            ) from error
        yield
