"""What a worker's failure is for the parent: the same exception, or the nearest of ours."""

from __future__ import annotations

import errno
import os

from jettison import errors
from jettison.domain.disk_faults import is_full
from jettison.domain.jobs import Failure
from jettison.errors import CandidateFailed, ConfigError, InternalError, JettisonError, UsageError


def exception_of(failure: Failure, asked: str) -> JettisonError:
    """Gives the exception that a worker answered with, as the same class where it is ours.

    A disk that is full or read-only stops the whole run, whatever library said so. Any other
    exception came out of a plug-in or its library: a failed candidate, except while loading,
    where it is a fault of ours.
    """
    found = getattr(errors, failure.error, None)
    known = isinstance(found, type) and issubclass(found, JettisonError)
    ours: type[JettisonError] | None = found if known else None
    error: JettisonError
    undecided = ours is None or issubclass(ours, CandidateFailed)
    if undecided and nowhere_to_write(failure.message):
        error = UsageError(
            f"{asked} could not write: {failure.message}; free some space, or choose another "
            "output folder"
        )
    elif ours is not None:
        error = ConfigError([failure.message]) if ours is ConfigError else ours(failure.message)
    elif asked == "load":
        error = InternalError(f"the loader failed: {failure.error}: {failure.message}")
    else:
        error = CandidateFailed(f"{asked} failed: {failure.error}: {failure.message}")
    if failure.traceback:
        error.add_note(f"In the worker:\n{failure.traceback.rstrip()}")
    return error


def nowhere_to_write(message: str) -> bool:
    """Whether what a worker said means that the disk took no more, or is read-only."""
    return is_full(message) or os.strerror(errno.EROFS) in message
