"""Logs as JSON lines: who asked what and how it ended, never what was in it.

A line is handed to a thread that writes it, so that a full pipe can't stop the event loop; what
finds the queue full is dropped and counted. Access lines have a rate, so that no caller can fill
a disk; so have those of other loggers, which callers can provoke by what is no HTTP.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

from jettison.serving.observability.detail import Ended

LOGGER = "jettison.serving"
"""Everything that a server logs goes through this logger or one below it."""

ACCESS = f"{LOGGER}.access"
WAITING_LINES = 2000
LONGEST_TEXT = 2000
LONGEST_ID = 128

OTHERS_PER_SECOND = 20.0
"""Lines of loggers that are not ours."""

Fields = dict[str, Any]


class JsonLines(logging.Formatter):
    """One record, one line of JSON in ASCII: nothing in it can start another line."""

    def format(self, record: logging.LogRecord) -> str:
        """Gives time, level, logger, event, and the fields that the record brought along."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: Fields = {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()[:LONGEST_TEXT],
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= fields
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class BoundedQueueHandler(QueueHandler):
    """Hands records to the writing thread without ever waiting.

    Attributes:
        dropped: records that found the queue full.
    """

    def __init__(self, lines: queue.Queue[logging.LogRecord]) -> None:
        super().__init__(lines)
        self.dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queues a record, or counts it as dropped; says so with the next that fits."""
        if self.dropped and isinstance(fields := getattr(record, "fields", {}), dict):
            record.fields = fields | {"dropped_lines": self.dropped}
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1
        else:
            self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leaves the record as it is: the thread that formats it is in the same process."""
        return record


@contextlib.contextmanager
def json_logs(
    stream: TextIO, level: int = logging.INFO, also: tuple[str, ...] = ()
) -> Iterator[None]:
    """Writes what the server logs to a stream, as JSON lines, for as long as the block runs.

    Args:
        stream: usually `sys.stderr`.
        level: the least that is written.
        also: names of other loggers that go the same way, for example `uvicorn.error`.
    """
    lines: queue.Queue[logging.LogRecord] = queue.Queue(WAITING_LINES)
    writer = logging.StreamHandler(stream)
    writer.setFormatter(JsonLines())
    listener = QueueListener(lines, writer)
    handler = BoundedQueueHandler(lines)
    loggers = [logging.getLogger(name) for name in (LOGGER, *also)]
    before = [(logger.level, logger.propagate) for logger in loggers]
    sparing = Sparing(OTHERS_PER_SECOND)
    listener.start()
    for name in also:
        logging.getLogger(name).addFilter(sparing)
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (old_level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old_level)
            logger.propagate = propagate
            logger.removeFilter(sparing)
        listener.stop()


class Allowance:
    """So many a second, a second's worth saved up at most; counts what went without.

    >>> clock = iter([0.0, 0.0, 0.0, 0.0, 1.0])
    >>> allowance = Allowance(2, lambda: next(clock))
    >>> [allowance.take() for _ in range(4)]
    [True, True, False, True]
    >>> allowance.left_out
    1
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._most = max(1.0, per_second)
        self._clock = clock
        self._saved = self._most
        self._at = clock()
        self.left_out = 0

    def take(self) -> bool:
        """Whether one more is allowed now."""
        now = self._clock()
        self._saved = min(self._most, self._saved + (now - self._at) * self._rate)
        self._at = now
        if self._saved >= 1.0:
            self._saved -= 1.0
            return True
        self.left_out += 1
        return False


class Sparing(logging.Filter):
    """Lets so many records a second pass; the next says how many did not."""

    def __init__(self, per_second: float) -> None:
        super().__init__()
        self._allowance = Allowance(per_second)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        allowance = self._allowance
        if not allowance.take():
            return False
        if allowance.left_out:
            record.fields = {"left_out": allowance.left_out}
            allowance.left_out = 0
        return True


class AccessLog:
    """Logs requests: refusals and answers each at most so many a second."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: `per_second` lines of answers, and as many of refusals; above 0."""
        self._logger = logging.getLogger(ACCESS)
        self._answered = Allowance(per_second, clock)
        self._refused = Allowance(per_second, clock)

    def request(self, ended: Ended) -> None:
        """Logs one request, unless its kind has used up its rate."""
        if self.takes(ended.code):
            self.write(ended)

    def takes(self, code: int) -> bool:
        """Whether a request of this status is to be logged; if so, `write` follows."""
        return (self._answered if code < 400 else self._refused).take()

    def write(self, ended: Ended) -> None:
        """Logs one request; says how many of its kind were left out before it."""
        allowance = self._answered if ended.code < 400 else self._refused
        fields = _fields(ended)
        if allowance.left_out:
            fields["left_out"] = allowance.left_out
            allowance.left_out = 0
        level = logging.ERROR if ended.code == 500 else logging.INFO
        self._logger.log(level, "request", extra={"fields": fields})


def _fields(ended: Ended) -> Fields:
    detail, answer = ended.detail, ended.detail.answer
    fields: Fields = {
        "request_id": detail.request_id[:LONGEST_ID],
        "model": ended.model,
        "version": ended.version,
        "protocol": ended.protocol,
        "code": ended.code,
        "ms": round(ended.seconds * 1e3, 3),
    }
    if detail.reason:
        fields["reason"] = detail.reason
    if detail.rows:
        fields["rows"] = detail.rows
    if answer is not None:
        fields["queue_ms"] = round(answer.queue_seconds * 1e3, 3)
        fields["compute_ms"] = round(answer.compute_seconds * 1e3, 3)
        fields["batch_rows"] = answer.batch_rows
    return fields
