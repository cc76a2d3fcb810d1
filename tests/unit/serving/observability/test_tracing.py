"""Traces: right spans with right times, the caller's trace continued, nothing when off."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("opentelemetry.sdk", reason="NO OPENTELEMETRY: pip install 'jettison[tracing]'")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from jettison.errors import MissingDependency
from jettison.serving.observability import Detail, Observability
from jettison.serving.observability.tracing import Tracing, exporting_to, is_sampled
from jettison.serving.requests import Answer

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MILLISECOND = 1_000_000
ANSWER = Answer({}, "v1", 0.002, 0.005, 8)


def spans_of(detail: Detail, code: int = 200, share: float = 1.0) -> dict[str, ReadableSpan]:
    """The spans that one request makes, by name."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter), share)
    watch = Observability(tracing=tracing)
    watch.request("m", "v1", code, 0.010, "http", detail)
    tracing.close()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_makes_a_span_with_queue_and_compute_inside() -> None:
    """The parts lie one after the other inside the whole, as long as the batcher says."""
    spans = spans_of(Detail("id-1", answer=ANSWER, rows=2, accepted_after_seconds=0.001))
    whole, queue, compute = spans["infer m"], spans["queue"], spans["compute"]
    assert whole.kind is SpanKind.SERVER
    assert whole.parent is None
    for part in (queue, compute):
        assert part.parent is not None
        assert whole.context is not None
        assert part.parent.span_id == whole.context.span_id
    assert _length(whole) == 10 * MILLISECOND
    assert (queue.start_time or 0) - (whole.start_time or 0) == MILLISECOND
    assert _length(queue) == 2 * MILLISECOND
    assert compute.start_time == queue.end_time
    assert _length(compute) == 5 * MILLISECOND
    assert dict(whole.attributes or {}) == {
        "jettison.model": "m",
        "jettison.version": "v1",
        "jettison.request_id": "id-1",
        "jettison.rows": 2,
        "http.response.status_code": 200,
        "network.protocol.name": "http",
    }


def test_the_callers_trace_goes_on() -> None:
    """A W3C traceparent gives trace and parent."""
    spans = spans_of(Detail(traceparent=f"00-{TRACE}-{PARENT}-01", answer=ANSWER))
    whole = spans["infer m"]
    assert whole.context is not None
    assert whole.parent is not None
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == PARENT
    assert whole.parent.is_remote


def test_a_trace_that_its_caller_did_not_sample_is_not_made() -> None:
    """The flag of the caller decides."""
    assert spans_of(Detail(traceparent=f"00-{TRACE}-{PARENT}-00", answer=ANSWER)) == {}


@pytest.mark.parametrize(
    "header", ["", "nonsense", "00-" + "0" * 32 + f"-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "é"]
)
def test_a_header_that_breaks_the_rules_counts_as_none(header: str) -> None:
    """The request still gets a trace, of its own."""
    whole = spans_of(Detail(traceparent=header, answer=ANSWER))["infer m"]
    assert whole.parent is None


def test_a_failed_request_is_marked_and_has_no_parts() -> None:
    """A refusal never reached the engine; only faults of the server are errors."""
    failed = spans_of(Detail(reason="failed"), 500)
    assert list(failed) == ["infer m"]
    assert failed["infer m"].status.status_code is StatusCode.ERROR
    refused = spans_of(Detail(reason="full"), 429)["infer m"]
    assert refused.status.status_code is StatusCode.UNSET
    assert (refused.attributes or {})["error.type"] == "full"


def test_the_share_of_requests_without_a_trace_can_be_zero() -> None:
    """Then only callers who bring a trace get one."""
    assert spans_of(Detail(answer=ANSWER), share=0.0) == {}
    assert spans_of(Detail(traceparent=f"00-{TRACE}-{PARENT}-01", answer=ANSWER), share=0.0)


def test_a_share_is_decided_by_the_id_alone() -> None:
    """About that share of ids is traced, the same every time, and all of it at a larger share."""
    ids = [f"order-{number}" for number in range(2000)]
    tenth = [one for one in ids if is_sampled(one, 0.1)]
    assert 140 < len(tenth) < 260
    assert tenth == [one for one in ids if is_sampled(one, 0.1)]
    assert all(is_sampled(one, 0.3) for one in tenth)
    left = next(one for one in ids if not is_sampled(one, 0.1))
    assert set(spans_of(Detail(tenth[0], answer=ANSWER), share=0.1)) == {
        "infer m",
        "queue",
        "compute",
    }
    assert spans_of(Detail(left, answer=ANSWER), share=0.1) == {}


def test_the_caller_decides_at_any_share() -> None:
    """With a trace of its own a request is traced if its flag is set, and else not."""
    sampled, not_sampled = (f"00-{TRACE}-{PARENT}-0{flag}" for flag in (1, 0))
    for share in (0.0, 0.5, 1.0):
        assert spans_of(Detail("a", traceparent=sampled, answer=ANSWER), share=share)
        assert not spans_of(Detail("a", traceparent=not_sampled, answer=ANSWER), share=share)


def test_a_server_without_tracing_loads_no_opentelemetry() -> None:
    """Off means off: not even the package is imported."""
    code = (
        "from jettison.serving.observability import Observability, Detail\n"
        "watch = Observability()\n"
        "watch.request('m', 'v', 200, 0.01, 'http', Detail('id'))\n"
        "watch.expose()\n"
        "import sys; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the exporter the message names the extra."""
    module = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=r"jettison\[tracing\]"):
        exporting_to("http://127.0.0.1:4318/v1/traces")


def test_spans_reach_a_collector() -> None:
    """`exporting_to` posts OTLP to the address that it was given, with what waits at the end."""
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Prints nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        tracing = Tracing(exporting_to(f"http://127.0.0.1:{server.server_port}/v1/traces"))
        header = f"00-{TRACE}-{PARENT}-01"
        Observability(tracing=tracing).request(
            "m", "v1", 200, 0.01, "http", Detail(traceparent=header, answer=ANSWER)
        )
        tracing.close()
        server.shutdown()
        thread.join()
    ((path, body),) = received
    assert path == "/v1/traces"
    assert bytes.fromhex(TRACE) in (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


def _length(span: ReadableSpan) -> int:
    return (span.end_time or 0) - (span.start_time or 0)
