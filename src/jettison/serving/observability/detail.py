"""What is known about one request beyond its code and duration, and one gauge of another part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from jettison.serving.requests import Answer


class Detail(NamedTuple):
    """What goes into a log line or a trace, and never into a metric label.

    A tuple, because one is made for each request: a frozen dataclass costs three times as much.

    Attributes:
        request_id: given back to the caller.
        traceparent, tracestate: the headers of that name, as they came (W3C Trace Context).
        answer: of the batcher, or `None` where the request never got that far.
        reason: why it was refused, a key of `jettison.errors.REFUSALS`; empty when answered.
        rows: of the request, 0 when unknown.
        accepted_after_seconds: from the first byte to the batcher (reading, parsing, checking).
    """

    request_id: str = ""
    traceparent: str = ""
    tracestate: str = ""
    answer: Answer | None = None
    reason: str = ""
    rows: int = 0
    accepted_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """One request that has ended, as a log line or a trace tells it.

    Attributes:
        model: as the caller wrote it, cut to a length that a line can bear.
        version, code, seconds, protocol: see `Observability.request`.
        detail: the rest.
    """

    model: str
    version: str
    code: int
    seconds: float
    protocol: str
    detail: Detail


class Reading(Protocol):
    """One gauge that another part of the server computes, for example a drift score.

    Attributes:
        name: `jettison_quality_...`, `jettison_drift_...` or `jettison_gpu_...`, unit last.
        labels: few, and bounded by the bundle: never something that a caller can invent.
        value: now. NaN is left out: a missing number is shown as missing.
    """

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def value(self) -> float: ...


class JoulesRange(Protocol):
    """Joules since the meter was made: the best value, and the range that it stands for."""

    @property
    def low(self) -> float: ...

    @property
    def value(self) -> float: ...

    @property
    def high(self) -> float: ...


class Meter(Protocol):
    """A source of energy readings, with the name of its rung of the ladder."""

    @property
    def label(self) -> str: ...

    def joules(self) -> JoulesRange: ...
