"""What a disk refuses, in words: it is full, read-only, not this user's, or has a file in the way."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from jettison.errors import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, a quota that is used up, a limit on the size of a file."""

CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)
"""Read-only, or not allowed to this user."""

MISTAKEN = (errno.ENOTDIR, errno.EISDIR)
"""A file where a folder is needed, or a folder where a file is."""

_SHORT_WRITE = re.compile(r"\b\d+ requested and \d+ written\b")
"""NumPy's words for a write that the disk cut short; it gives no error number."""


@contextlib.contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Puts the name of a file into an `OSError` that lacks it, as a failed write does."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def explained(who: str, place: Path) -> Iterator[None]:
    """Turns what a disk refuses into one `UsageError`; other faults pass as they are.

    Args:
        who: what was going on, for example «the run in jettison-run».
        place: named where the fault does not say which file it is about.

    Raises:
        UsageError: says which file, why, and what to do.
    """
    try:
        yield
    except OSError as error:
        usage = in_words(error, who, place)
        if usage is None:
            raise
        raise usage from error


def in_words(error: OSError, who: str, place: Path) -> UsageError | None:
    """Describes what a disk refused; `None` for a fault of another kind."""
    name = error.filename2 or error.filename
    file = f"`{os.fsdecode(name)}`" if isinstance(name, str | bytes) else f"a file in `{place}`"
    reason = error.strerror or str(error)
    # A folder that is made anew where one lies already is a fault of ours, and passes.
    in_the_way = error.errno == errno.EEXIST and name and not Path(os.fsdecode(name)).is_dir()
    if in_the_way or error.errno in MISTAKEN:
        return UsageError(
            f"{who} can't use {file}: {reason}. A file stands where a folder is needed, or a folder "
            "where a file is; name another path"
        )
    if error.errno in FULL or (error.errno is None and is_full(str(error))):
        return UsageError(
            f"{who} can't write {file}: {reason}. Free some space on that disk, or raise the "
            "quota or the limit on file sizes, or choose another folder; then give the same "
            "command again"
        )
    if error.errno in CLOSED or (error.errno is None and _says(str(error), CLOSED)):
        return UsageError(
            f"{who} may not use {file}: {reason}. Give this user the right to read and write "
            "there, or choose another folder"
        )
    return None


def is_full(message: str) -> bool:
    """Whether the words of another process or library say that the disk took no more."""
    return _says(message, FULL) or bool(_SHORT_WRITE.search(message))


def _says(message: str, numbers: tuple[int, ...]) -> bool:
    return any(os.strerror(number) in message for number in numbers)
