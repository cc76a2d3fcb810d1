"""An OpenTelemetry trace for each request, with its time in the queue and its computing.

Spans are made after the request has ended, from the times that the batcher kept: nothing runs
while a request is on its way, and a server without tracing pays for one comparison with `None`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jettison.errors import MissingDependency
from jettison.serving.observability.detail import Ended

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor

NANOSECONDS = 1_000_000_000
NAME = "jettison.serving"
SERVICE_NAME = "OTEL_SERVICE_NAME"
"""OpenTelemetry's own variable for the name under which spans are shown."""


class Tracing:
    """Makes the spans. Uses a provider of its own, so that nothing global is set."""

    def __init__(self, processor: SpanProcessor, share: float = 1.0) -> None:
        """Makes a tracer.

        Args:
            processor: takes finished spans; `exporting_to` makes one.
            share: of the requests without a trace of their own that get one, from 0 to 1, by
                `is_sampled`. A request that comes with a trace is traced as its caller decided.
        """
        with _packages():
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        self._share = share
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource.create({"service.name": os.environ.get(SERVICE_NAME, "jettison")}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(NAME)
        self._propagator = TraceContextTextMapPropagator()

    def request(self, ended: Ended) -> None:
        """Makes the span of one request that has just ended, and those of queue and computing."""
        from opentelemetry.trace import (
            SpanKind,
            Status,
            StatusCode,
            get_current_span,
            set_span_in_context,
        )

        detail = ended.detail
        parent = self._parent(detail.traceparent, detail.tracestate)
        # A request without a trace of its own is left out here, before a span costs anything.
        traced = get_current_span(parent).get_span_context().is_valid
        if not traced and not is_sampled(detail.request_id, self._share):
            return
        end = time.time_ns()
        start = end - round(ended.seconds * NANOSECONDS)
        span = self._tracer.start_span(
            f"infer {ended.model}",
            context=parent,
            kind=SpanKind.SERVER,
            start_time=start,
            attributes={
                "jettison.model": ended.model,
                "jettison.version": ended.version,
                "jettison.request_id": detail.request_id,
                "jettison.rows": detail.rows,
                "http.response.status_code": ended.code,
                "network.protocol.name": ended.protocol,
            },
        )
        if ended.code >= 500:
            span.set_status(Status(StatusCode.ERROR, detail.reason or None))
        if detail.reason:
            span.set_attribute("error.type", detail.reason)
        if span.is_recording() and detail.answer is not None:
            accepted = start + round(detail.accepted_after_seconds * NANOSECONDS)
            self._inside(ended, accepted, set_span_in_context(span))
        span.end(end_time=end)

    def _inside(self, ended: Ended, accepted: int, context: Context) -> None:
        answer = ended.detail.answer
        if answer is None:
            return
        started = accepted + round(answer.queue_seconds * NANOSECONDS)
        done = started + round(answer.compute_seconds * NANOSECONDS)
        waited = self._tracer.start_span("queue", context=context, start_time=accepted)
        waited.end(end_time=started)
        computed = self._tracer.start_span(
            "compute",
            context=context,
            start_time=started,
            attributes={"jettison.batch_rows": answer.batch_rows},
        )
        computed.end(end_time=done)

    def _parent(self, traceparent: str, tracestate: str) -> Context:
        """The caller's span; a header that breaks the rules counts as none."""
        from opentelemetry.context import Context

        carrier = {"traceparent": traceparent, "tracestate": tracestate} if traceparent else {}
        return self._propagator.extract(carrier, context=Context())

    def close(self) -> None:
        """Sends what waits, and ends the thread that sends."""
        self._provider.shutdown()


def is_sampled(request_id: str, share: float) -> bool:
    """Whether the request of this id gets a trace: always the same answer for the same id and share.

    So every server that a request goes through decides alike, and whoever knows the id of a request
    knows whether there is a trace of it. What is sampled at one share is sampled at every larger one.

    >>> [is_sampled("order-4711", share) for share in (0.0, 0.1, 0.2, 1.0)]
    [False, False, True, True]
    """
    number = int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest())
    return number < share * 2**64


def exporting_to(endpoint: str) -> SpanProcessor:
    """Sends spans to an OpenTelemetry collector from a thread of its own, in groups.

    Args:
        endpoint: address for OTLP over HTTP, for example `http://127.0.0.1:4318/v1/traces`.

    Raises:
        MissingDependency: without the extra `tracing`.
    """
    with _packages():
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))


@contextlib.contextmanager
def _packages() -> Iterator[None]:
    """Turns a missing package into the message that says what to install."""
    try:
        yield
    except ImportError as error:
        raise MissingDependency(
            f"tracing needs the package {error.name}; run: pip install 'jettison[tracing]'"
        ) from error
