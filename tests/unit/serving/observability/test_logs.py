"""The logs: one line of JSON each, no payloads, never in the way."""

from __future__ import annotations

import io
import json
import logging
import queue
from typing import Any

import pytest

from jettison.serving.observability import Detail, Observability, logs
from jettison.serving.observability.logs import (
    ACCESS,
    LOGGER,
    AccessLog,
    Allowance,
    BoundedQueueHandler,
    json_logs,
)
from jettison.serving.requests import Answer
from jettison.serving.versions import ServedVersion


class Clock:
    """Time that stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written, each line read as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_line_with_its_facts(served: ServedVersion) -> None:
    """Id, model, version, code, milliseconds, and the parts of the time."""
    stream = io.StringIO()
    with json_logs(stream):
        watch = Observability(access=AccessLog(10))
        watch.loaded(served)
        answer = Answer({}, served.version, 0.002, 0.004, 8)
        detail = Detail("id-1", answer=answer, rows=3)
        watch.request(served.name, served.version, 200, 0.0105, "http", detail)
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": ACCESS,
        "event": "request",
        "request_id": "id-1",
        "model": served.name,
        "version": served.version,
        "protocol": "http",
        "code": 200,
        "ms": 10.5,
        "rows": 3,
        "queue_ms": 2.0,
        "compute_ms": 4.0,
        "batch_rows": 8,
    }


def test_a_refusal_says_why_and_a_fault_is_an_error() -> None:
    """The reason stands in the line; only 500 is a fault of ours."""
    stream = io.StringIO()
    with json_logs(stream):
        watch = Observability(access=AccessLog(10))
        watch.request("m", "", 429, 0.001, "grpc", Detail("a", reason="full"))
        watch.request("m", "", 500, 0.001, "http", Detail("b", reason="failed"))
    refused, failed = lines(stream)
    assert (refused["level"], refused["reason"], refused["code"]) == ("info", "full", 429)
    assert (failed["level"], failed["reason"], failed["code"]) == ("error", "failed", 500)


def test_no_payload_is_logged() -> None:
    """The arrays of an answer appear nowhere, even where a line is about it."""
    import numpy as np

    stream = io.StringIO()
    secret = np.array([31415.9265])
    with json_logs(stream):
        watch = Observability(access=AccessLog(10))
        answer = Answer({"scores": secret}, "v", 0.0, 0.0, 1)
        watch.request("m", "v", 200, 0.001, "http", Detail("a", answer=answer))
    assert lines(stream)
    assert "31415" not in stream.getvalue()
    assert "scores" not in stream.getvalue()


@pytest.mark.parametrize(
    "name", ['a"\n{"level": "error"}', "\u2028line", "\x1b[31mred", "x" * 9999]
)
def test_what_a_caller_writes_stays_in_its_field(name: str) -> None:
    """A name or id from outside starts no line, moves no cursor, and is cut."""
    stream = io.StringIO()
    with json_logs(stream):
        watch = Observability(access=AccessLog(10))
        watch.request(name, "", 404, 0.001, "http", Detail(name))
    (line,) = lines(stream)
    assert line["model"] == name[:100]
    assert line["request_id"] == name[:128]
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()


def test_access_lines_have_a_rate_and_tell_what_they_left_out() -> None:
    """Two a second and kind; refusals do not use up the rate of answers."""
    clock, stream = Clock(), io.StringIO()
    with json_logs(stream):
        watch = Observability(access=AccessLog(2, clock))
        for _ in range(10):
            watch.request("m", "v", 200, 0.001, "http")
        for _ in range(10):
            watch.request("m", "v", 400, 0.001, "http")
        clock.now += 0.5
        watch.request("m", "v", 200, 0.001, "http")
    told = [(line["code"], line.get("left_out")) for line in lines(stream)]
    assert told == [(200, None), (200, None), (400, None), (400, None), (200, 8)]


def test_a_rate_below_one_still_logs_sometimes() -> None:
    """One line in ten seconds is a rate like any other."""
    clock = Clock()
    allowance = Allowance(0.1, clock)
    assert allowance.take()
    clock.now += 9.0
    assert not allowance.take()
    clock.now += 1.1
    assert allowance.take()


def test_a_full_queue_drops_and_says_so() -> None:
    """Logging never waits: what does not fit is counted, and the next line tells."""
    lines_waiting: queue.Queue[logging.LogRecord] = queue.Queue(1)
    handler = BoundedQueueHandler(lines_waiting)
    logger = logging.Logger("alone")
    logger.addHandler(handler)
    for number in range(4):
        logger.info("line %d", number)
    assert handler.dropped == 3
    lines_waiting.get_nowait()
    logger.info("after", extra={"fields": {"a": 1}})
    record = lines_waiting.get_nowait()
    assert record.fields == {"a": 1, "dropped_lines": 3}  # type: ignore[attr-defined]
    assert handler.dropped == 0


def test_errors_are_logged_with_their_trace_in_one_line() -> None:
    """A traceback has line breaks; the log line has none."""
    stream = io.StringIO()
    with json_logs(stream):
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger(f"{LOGGER}.test").exception("it failed")
    (line,) = lines(stream)
    assert line["event"] == "it failed"
    assert "ValueError: broken" in line["error"]


def test_loggers_are_as_before_afterwards() -> None:
    """Nothing global stays changed when the server ends; other loggers can go the same way."""
    other = logging.getLogger("other.server")
    before = (other.level, other.propagate, list(other.handlers))
    stream = io.StringIO()
    with json_logs(stream, also=("other.server",)):
        other.info("hello")
    assert (other.level, other.propagate, list(other.handlers)) == before
    assert [line["event"] for line in lines(stream)] == ["hello"]
    logging.getLogger(LOGGER).info("nobody listens")
    assert len(lines(stream)) == 1


def test_other_loggers_have_a_rate_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends what is no HTTP, again and again, fills no disk; what was left out is told."""
    monkeypatch.setattr(logs, "OTHERS_PER_SECOND", 5.0)
    stream, other = io.StringIO(), logging.getLogger("others.of.a.test")
    clock = Clock()
    monkeypatch.setattr(Allowance.__init__, "__defaults__", (clock,))
    with json_logs(stream, also=(other.name,)):
        for _ in range(100):
            other.warning("Invalid HTTP request received.")
        clock.now += 1.0
        other.warning("the last")
    told = lines(stream)
    assert len(told) == 6
    assert (told[-1]["event"], told[-1]["left_out"]) == ("the last", 95)
    assert not other.filters
