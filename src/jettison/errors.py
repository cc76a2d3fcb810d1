"""Every exception that jettison raises on purpose.

    JettisonError
    ├── UsageError             the request can't be carried out as asked            exit 2
    │   ├── ConfigError        mistakes in jettison.toml or arguments, all at once
    │   ├── ModelError         a model file that can't be read, or may not be
    │   ├── DataError          a data file, column or value that can't be used
    │   ├── UnknownName        a plug-in name that nobody registered
    │   ├── DuplicateName      a plug-in name that two packages registered
    │   ├── MissingDependency  a package that this request needs is not installed
    │   └── Busy               another run holds this folder or this seal
    ├── SealRefused            the certification rows are spent, or can't suffice    exit 4
    ├── CheckFailed            `verify` found something that differs                 exit 5
    ├── CandidateFailed        one recipe can't be built or run; the search goes on
    │   ├── NothingChanged     a technique changed no operator and no byte
    │   └── WorkerDied         the worker process ended without an answer
    ├── RequestRefused         a server does not answer this request; carries the HTTP status
    └── InternalError          a fault of ours                                       exit 1

Each message says what was given, where, what is allowed and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "Busy",
    "CandidateFailed",
    "CheckFailed",
    "ConfigError",
    "DataError",
    "DuplicateName",
    "InternalError",
    "JettisonError",
    "MissingDependency",
    "ModelError",
    "NothingChanged",
    "RequestRefused",
    "SealRefused",
    "UnknownName",
    "UsageError",
    "WorkerDied",
]


class JettisonError(Exception):
    """The root: catch it to catch everything that jettison raises on purpose."""

    exit_code = 1


class UsageError(JettisonError):
    """The request can't be carried out as asked; the message says what to change."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more mistakes in a configuration, all reported at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 mistake" if count == 1 else f"{count} mistakes"
        super().__init__(f"{head} in what was asked:\n" + "\n".join(f"  - {p}" for p in problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class ModelError(UsageError):
    """A model file that can't be read, or that is refused for safety."""


class DataError(UsageError):
    """A data file, column or value that can't be used."""


class UnknownName(UsageError):
    """A plug-in name that no installed package registers."""


class DuplicateName(UsageError):
    """A plug-in name that two installed packages register."""


class MissingDependency(UsageError):
    """A package that this request needs is not installed."""


class Busy(UsageError):
    """Another run holds this folder or this seal."""


class SealRefused(JettisonError):
    """The certification rows are spent, or are too few for what is asked."""

    exit_code = 4


class CheckFailed(JettisonError):
    """A check of a bundle or of a ledger found something that differs."""

    exit_code = 5


class CandidateFailed(JettisonError):
    """One recipe can't be built or run; a search records the reason and goes on."""


class NothingChanged(CandidateFailed):
    """A technique that is not a conversion changed no operator and no byte."""


class WorkerDied(CandidateFailed):
    """A worker process ended without an answer (out of memory, a crash in native code)."""


REFUSALS: Mapping[str, int] = {
    "shape": 400,
    "malformed": 400,
    "key": 401,
    "unknown": 404,
    "too large": 413,
    "host": 421,
    "full": 429,
    "guardrail": 422,
    "failed": 500,
    "drain": 503,
    "not ready": 503,
    "deadline": 504,
}
"""Why a server refuses a request, with the HTTP status of each reason."""


class RequestRefused(JettisonError):
    """A server does not answer this request.

    Attributes:
        reason: a key of `REFUSALS`.
        status: HTTP status of the reason.
        retry_after_seconds: when asking again may help; `None` where it won't.
    """

    def __init__(self, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        self.reason = reason
        self.status = REFUSALS[reason]
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)

    def __reduce__(self) -> tuple[type[RequestRefused], tuple[str, str, float | None]]:
        return type(self), (self.reason, str(self), self.retry_after_seconds)


class InternalError(JettisonError):
    """A fault of jettison itself."""
