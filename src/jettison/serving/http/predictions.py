"""Rows as their owner has them -> the encoder of the bundle -> labels, scores, values."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from jettison.domain.extension_points import Example
from jettison.domain.model import Model
from jettison.domain.rows import Array
from jettison.errors import DataError, RequestRefused
from jettison.serving.encoding import encode
from jettison.serving.http.raw_rows import columns_of
from jettison.serving.oip.call import InferCall, check_id, scheduling
from jettison.serving.oip.http_messages import read_json
from jettison.serving.requests import Answer, InferenceRequest, Priority
from jettison.serving.settings import ServeSettings
from jettison.serving.versions import ServedVersion

Lengths = Mapping[str, Array]
"""Free axis of the model -> the length of each row, shape (n,); empty where all are as long."""

ENCODERS = 2
"""Threads that encode: one can go on while another waits for the interpreter."""
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A call for predictions.

    Attributes:
        examples: the rows as columns.
        call_id, priority, timeout_seconds: as in `InferCall`.
        started: of `time.monotonic()`.
        size: bytes of the body.
    """

    examples: Example
    call_id: str
    priority: Priority
    timeout_seconds: float | None
    started: float
    size: int


class Predictor:
    """Reads rows, encodes them off the event loop, and writes what the model makes of them."""

    def __init__(self, settings: ServeSettings) -> None:
        self._longest_seconds = settings.deadline_seconds
        self._threads = ThreadPoolExecutor(ENCODERS, thread_name_prefix="jettison-encoder")
        self._rows_in_encoding = 0
        self._bytes_in_encoding = 0

    def close(self) -> None:
        """Lets the threads end; what waits for one is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def read(self, body: bytes, served: ServedVersion) -> Asked:
        """Reads `{"rows": [...], "id": ..., "parameters": {...}}`.

        Raises:
            RequestRefused: `malformed` or `shape`; `too large` for more rows than may ever wait.
        """
        message = read_json(body)
        parameters = message.get("parameters", {})
        if not isinstance(parameters, dict):
            raise RequestRefused("malformed", "`parameters` must be an object")
        priority, timeout = scheduling(parameters)
        rows = message.get("rows")
        if not isinstance(rows, list) or not rows:
            raise RequestRefused(
                "malformed",
                'the body needs `rows`, a list with at least one row, such as {"rows": '
                '["a text"]} or {"rows": [{"age": 41, "town": "Bern"}]}',
            )
        if len(rows) > served.policy.max_queue_rows:
            raise RequestRefused(
                "too large",
                f"{len(rows)} rows at once; at most {served.policy.max_queue_rows} are taken",
            )
        return Asked(
            examples=columns_of(rows, served.model.encoder),
            call_id=check_id(message.get("id", "")),
            priority=priority,
            timeout_seconds=timeout,
            started=time.monotonic(),
            size=len(body),
        )

    async def encode(
        self, asked: Asked, served: ServedVersion, request_id: str
    ) -> tuple[InferenceRequest, Lengths]:
        """Makes the request for the model's queue; gives the lengths of the rows with it.

        Raises:
            RequestRefused: `shape`, with the row and column that can't be encoded; `full`, if as
                many rows wait as can be answered in time, or as many bytes as may.
        """
        n, policy = asked.examples.n, served.policy
        waiting = self._rows_in_encoding + served.batcher.waiting_rows
        held = self._bytes_in_encoding + served.batcher.waiting_bytes
        many = waiting + n > policy.max_queue_rows
        if waiting and (many or held + asked.size > policy.max_queue_bytes):
            raise RequestRefused(
                "full",
                f"{waiting} rows of {held:,} bytes wait already; ask again later",
                RETRY_SECONDS,
            )
        self._rows_in_encoding += n
        self._bytes_in_encoding += asked.size
        loop = asyncio.get_running_loop()
        try:
            encoded = await loop.run_in_executor(
                self._threads, encode, served.model, asked.examples
            )
        except DataError as error:
            raise RequestRefused("shape", str(error)) from error
        finally:
            self._rows_in_encoding -= n
            self._bytes_in_encoding -= asked.size
        call = InferCall(encoded.arrays, (), asked.call_id, asked.priority, asked.timeout_seconds)
        spent = time.monotonic() - asked.started
        request = call.request(
            served.model, served.pad or encoded.pad, self._longest_seconds, request_id, spent
        )
        padded = [spec for spec in served.model.inputs if spec.name in encoded.pad]
        lengths = encoded.lengths
        return request, {} if lengths is None else {str(s.shape[1]): lengths for s in padded}

    def write(self, asked: Asked, served: ServedVersion, answer: Answer, lengths: Lengths) -> bytes:
        """Writes the answer: one prediction a row, in the order of the rows.

        Args:
            asked: the call.
            served: the version that answered.
            answer: its outputs.
            lengths: as `encode` gave them.
        """
        told: dict[str, Any] = {
            "model_name": served.name,
            "model_version": answer.version,
            "certificate": served.label,
            "predictions": predictions(
                served.model, answer.arrays[served.model.prediction], lengths
            ),
        }
        if asked.call_id:
            told["id"] = asked.call_id
        return orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def predictions(model: Model, output: Array, lengths: Lengths) -> list[dict[str, Any]]:
    """Reads the output that quality was certified on, one dictionary a row.

    A classifier gives `label`, `score` and the `scores` of all classes as the model gives them. One
    score a row stands alone: whether 0 or 0.5 divides the two classes is not known here. Regression
    gives `value`, anything else `output`.

    Args:
        model: that answered.
        output: its prediction, rows first.
        lengths: where an output is as long as its row, it ends with the row: what the model says
            about the padding behind it is left out.
    """
    if model.task == "classification":
        if output.dtype.kind != "f":
            return _named(output, model.encoder.labels)
        if output.ndim == 2 and output.shape[1] > 1:
            return _scored(output, model.encoder.labels)
        return [{"score": value} for value in _plain(output.reshape(len(output), -1)[:, 0])]
    name = "value" if model.task == "regression" else "output"
    flat = output[:, 0] if output.ndim == 2 and output.shape[1] == 1 else output
    sizes = next(spec.shape for spec in model.outputs if spec.name == model.prediction)[1:]
    cuts = {axis: lengths[str(n)] for axis, n in enumerate(sizes) if str(n) in lengths}
    if not cuts:
        return [{name: value} for value in _plain(flat)]
    rows = (_cut(row, {axis: own[i] for axis, own in cuts.items()}) for i, row in enumerate(output))
    return [{name: _plain(row)} for row in rows]


def _cut(row: Array, ends: Mapping[int, int]) -> Array:
    found: Array = row[tuple(slice(ends.get(axis)) for axis in range(row.ndim))]
    return found


def _plain(output: Array) -> list[Any]:
    """Rows as JSON holds them; a number that is none becomes `null`."""
    read: list[Any] = orjson.loads(
        orjson.dumps(np.ascontiguousarray(output), option=orjson.OPT_SERIALIZE_NUMPY)
    )
    return read


def _named(output: Array, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    values = output.reshape(len(output), -1)[:, 0].tolist()
    names = dict(enumerate(labels)) if output.dtype.kind in "iu" else {}
    return [{"label": names.get(value, str(value))} for value in values]


def _scored(output: Array, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    classes = output.shape[1]
    names = labels if len(labels) == classes else tuple(str(place) for place in range(classes))
    told: list[dict[str, Any]] = []
    for row, values in zip(output, _plain(output), strict=True):
        if np.isfinite(row).all():
            best = int(np.argmax(row))
            told.append({"label": names[best], "score": values[best]})
        else:
            told.append({"label": None, "score": None})
        told[-1]["scores"] = dict(zip(names, values, strict=True))
    return told
