"""`Ending`: what is known about a call when it ends, for counts, logs and traces."""

from __future__ import annotations

import time

from jettison.errors import RequestRefused
from jettison.serving.observability import Detail, Observability
from jettison.serving.requests import Answer, InferenceRequest

OK = 200
FAILED = 500
CLIENT_GONE = 499
"""Counted for a caller who hung up; nobody receives it (nginx's word for it)."""


class Ending:
    """Kept while a call runs, and told once when it ends, whatever became of it.

    Attributes:
        model: as the caller wrote it.
        protocol: `http` or `grpc`.
        code: HTTP status, also for gRPC.
        version: that the call was for, or that answered.
        request_id, traceparent, tracestate: as in `Detail`.
    """

    __slots__ = (
        "_accepted",
        "_answer",
        "_reason",
        "_rows",
        "_started",
        "code",
        "model",
        "protocol",
        "request_id",
        "traceparent",
        "tracestate",
        "version",
    )

    def __init__(self, model: str, protocol: str, request_id: str = "") -> None:
        self.model = model
        self.protocol = protocol
        self.code = FAILED
        self.version = ""
        self.request_id = request_id
        self.traceparent = ""
        self.tracestate = ""
        self._reason = ""
        self._rows = 0
        self._started = time.perf_counter()
        self._accepted = 0.0
        self._answer: Answer | None = None

    def accepted(self, request: InferenceRequest) -> None:
        """The request goes to its queue; from here on the batcher counts refusals."""
        self._rows = request.rows
        self._accepted = time.perf_counter()

    def answered(self, answer: Answer) -> None:
        """The rows were computed."""
        self._answer = answer
        self.version = answer.version

    def refused(self, refused: RequestRefused, watch: Observability) -> None:
        """The call is refused."""
        self.code, self._reason = refused.status, refused.reason
        if not self._accepted:
            watch.rejected(self.model, refused.reason)

    def tell(self, watch: Observability) -> None:
        """Counts the call."""
        seconds = time.perf_counter() - self._started
        if watch.count(self.model, self.version, self.code, seconds, self.protocol):
            watch.describe(
                self.model, self.version, self.code, seconds, self.protocol, self._detail()
            )

    def _detail(self) -> Detail:
        return Detail(
            request_id=self.request_id,
            traceparent=self.traceparent,
            tracestate=self.tracestate,
            answer=self._answer,
            reason=self._reason,
            rows=self._rows,
            accepted_after_seconds=max(0.0, self._accepted - self._started),
        )
