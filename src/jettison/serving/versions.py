"""`ServedVersion`: one bundle in memory, with its engine, its queue and what is true of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jettison.domain.certificate import Certificate
from jettison.domain.device import ServingProfile
from jettison.domain.model import Model
from jettison.domain.recipe import Step

if TYPE_CHECKING:
    from jettison.serving.batcher import Batcher, BatchPolicy
    from jettison.serving.engine import Engine
    from jettison.serving.guarding import Door

CERTIFIED = "certified"
VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ServedVersion:
    """One loaded version of a named model.

    Attributes:
        name: that callers ask for.
        version: first 12 hexadecimal digits of the bundle's digest.
        folder: of the bundle; another bundle may have taken its place since.
        digest: the bundle's name.
        model, runtime, serving: what runs and how; paths are absolute.
        certificate: of the bundle, whatever its status.
        card: the model card (Markdown), as it was when this version was loaded.
        pad: inputs whose second axis is ragged, with the value that fills it (`Rows.pad`).
        engine, batcher: the running parts.
        policy: batch cap and queue bound.
        seconds_by_rows: batch size -> seconds, as measured at load; empty where a cap was given.
        label: `certified`, or `uncertified: ` and why.
        notes: sentences that a person should read (why it is served one by one, ...).
        original: digest of the model that the bundle was made from; empty if unknown.
        door: guardrails of its requests; `None` for none.
    """

    name: str
    version: str
    folder: str
    digest: str
    model: Model
    runtime: Step
    serving: ServingProfile
    certificate: Certificate
    card: str
    pad: Mapping[str, float]
    engine: Engine
    batcher: Batcher
    policy: BatchPolicy
    seconds_by_rows: Mapping[int, float]
    label: str
    notes: tuple[str, ...]
    original: str = ""
    door: Door | None = None

    @property
    def certified(self) -> bool:
        """Whether a certificate covers this model as it is served here."""
        return self.label == CERTIFIED
