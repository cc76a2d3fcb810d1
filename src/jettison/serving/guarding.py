"""The door for guardrails: what is asked of a request before it may wait in the queue."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from jettison import registry
from jettison.domain.model import Model
from jettison.domain.outer_points import GuardrailCheck
from jettison.domain.rows import Batch
from jettison.errors import ConfigError, RequestRefused

Guardrails = Mapping[str, Mapping[str, object]]
"""Guardrail -> its settings, for one model."""

FAULTS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What a fault in a guardrail may raise; the request is refused then, not let through."""


class Door:
    """All guardrails of one model, in the order in which they were set.

    Attributes:
        note: what a person should know about it.
    """

    def __init__(self, model: Model, guardrails: Guardrails) -> None:
        """Prepares every guardrail.

        Raises:
            ConfigError: with every setting that the model can't have.
            UnknownName: for a guardrail that nobody registered.
        """
        self.note = f"every request must pass the guardrails {', '.join(guardrails)}"
        self._checks: list[tuple[str, GuardrailCheck]] = []
        problems: list[str] = []
        for name, settings in guardrails.items():
            try:
                check = registry.get("guardrails", name).prepare(model, settings)
            except ConfigError as error:
                problems += error.problems
            else:
                self._checks.append((name, check))
        if problems:
            raise ConfigError(problems)

    def check(self, request: Batch) -> None:
        """Lets a request pass.

        Raises:
            RequestRefused: `guardrail` with the reason; `failed` if a guardrail is at fault.
        """
        for name, check in self._checks:
            try:
                refusal = check(request)
            except FAULTS as error:
                told = f"the guardrail `{name}` could not judge this request: {error}"
                raise RequestRefused("failed", told) from error
            if refusal is not None:
                raise RequestRefused("guardrail", f"{refusal.name}: {refusal.reason}")


def read_guardrails(path: Path, models: Collection[str]) -> dict[str, Guardrails]:
    """Reads a TOML file: model -> guardrail -> settings.

    Args:
        path: for example with the table `[reviews.input_limits]`.
        models: names that are served.

    Raises:
        ConfigError: if it can't be read, or names a model or a guardrail that is not there.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"the guardrails {path} can't be read: {error}"]) from error
    known = registry.names("guardrails")
    problems: list[str] = []
    for model, guardrails in told.items():
        if model not in models:
            served = ", ".join(f"`{name}`" for name in models)
            problems.append(f"{path}: no model `{model}` is served; there are {served}")
        elif not isinstance(guardrails, dict):
            problems.append(f"{path}: `{model}` must be a table of guardrails")
        else:
            problems += [
                f"{path}: `{model}.{name}` must be a table of a guardrail; there are "
                f"{', '.join(known)}"
                for name, settings in guardrails.items()
                if name not in known or not isinstance(settings, dict)
            ]
    if problems:
        raise ConfigError(problems)
    return told
