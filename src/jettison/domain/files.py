"""Writing to disk so that a crash leaves the old or the new, never a half."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from jettison.domain.disk_faults import named
from jettison.errors import Busy, UsageError


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Writes a file beside its place, syncs it to disk and renames it into place."""
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.part")
    payload = data.encode() if isinstance(data, str) else data
    try:
        with named(final), open(temporary, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)


def append_line(path: Path, line: str) -> None:
    """Appends text and syncs it to disk; takes a half-written line (a full disk) back out."""
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        payload = line.encode()
        try:
            if file.write(payload) != len(payload):
                raise OSError(f"no space left for {path}")
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), end)
            raise


def new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Makes a `.npy` file to be filled through memory, with its space on disk reserved.

    Without the reservation a disk that fills up kills the process (SIGBUS) at some assignment.

    Raises:
        OSError: if there is no space; the file is gone then.
    """
    try:
        with named(path):
            array = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
            with open(path, "r+b") as file:
                _reserve(file.fileno(), path.stat().st_size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return array


def _reserve(descriptor: int, size: int) -> None:
    """Takes the blocks of a file, where the system can."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


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


def check_folder_place(folder: Path, what: str) -> None:
    """Refuses a folder that can't be made, before time is spent on what goes into it.

    Args:
        folder: made later, if it is not there.
        what: that it is for, as the user knows it.

    Raises:
        UsageError: if a file stands in its place, or in that of a folder above it.
    """
    whole = folder.absolute()
    nearest = next(path for path in (whole, *whole.parents) if path.exists())
    if not nearest.is_dir():
        raise UsageError(
            f"{what} must be a folder, and {nearest} is a file; choose another place than {folder}"
        )


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
