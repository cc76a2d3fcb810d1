"""The doors around a model: raw examples before it, requests that reach it, bundles that leave.

As in `jettison.domain.extension_points`: one `Protocol` each, one file and one entry-point line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from jettison.domain.exports import ExportJob, ExportSetting
from jettison.domain.model import Model
from jettison.domain.recipe import Ranges, Refusal
from jettison.domain.record import Settings
from jettison.domain.rows import Batch

Taken = Literal["image", "text", "signal"]
"""What a transformation changes: an image, a text, or numbers along axes (sound, a sensor)."""


class Transformation(Protocol):
    """One way in which a raw example may differ where the model is used: a context."""

    name: ClassVar[str]
    takes: ClassVar[Taken]
    packages: ClassVar[tuple[str, ...]]

    def settings(self) -> Ranges:
        """The settings with their defaults; ranges say what is allowed, nothing is searched."""
        ...

    def apply(self, value: Any, settings: Settings, random: np.random.Generator) -> Any:
        """Makes the changed value of one row; never changes the one that it was given.

        Args:
            value: an `image` as encoded bytes or as uint8 pixels (h, w) or (h, w, c); a `text`
                as str; a `signal` as float64 of shape (t,) or more axes.
            settings: every setting of `settings()`, checked.
            random: seeded by the run, the context and the row, so that no order matters.

        Returns:
            The same kind: bytes for bytes, pixels of the same shape for pixels, str for str.

        Raises:
            DataError: if this value can't be changed so; says why.
        """
        ...


GuardrailCheck = Callable[[Batch], Refusal | None]
"""Looks at the inputs of one request, rows first, and refuses it with one sentence, or not. Called on
the event loop of a server: it must be quick, and must not change what it sees."""


class Guardrail(Protocol):
    """One check of requests, after their names, dtypes and shapes and before the queue."""

    name: ClassVar[str]

    def prepare(self, model: Model, settings: Mapping[str, object]) -> GuardrailCheck:
        """Makes the check of one model.

        Args:
            model: whose requests are checked.
            settings: as they stand in the file of guardrails (TOML values).

        Raises:
            ConfigError: with every setting that this model can't have, and what is allowed.
        """
        ...


class Exporter(Protocol):
    """One way to hand a bundle to a server of another kind."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[str]]
    """Traits that a model must have; a bundle without them is refused before anything is written."""
    settings: ClassVar[Mapping[str, ExportSetting]]

    def write(self, job: ExportJob, folder: Path) -> tuple[str, ...]:
        """Writes everything into an empty folder.

        Returns:
            The next steps, one sentence or command each.

        Raises:
            UsageError: if this bundle or these settings can't be exported so; says what to do.
        """
        ...
