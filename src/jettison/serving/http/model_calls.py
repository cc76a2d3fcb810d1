"""Calls that a model answers: one way in, one count, one place where refusals and hang-ups end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jettison.errors import JettisonError, RequestRefused
from jettison.serving.http.exchange import (
    CLIENT_GONE,
    HEADER_LENGTH,
    OCTETS,
    ClientGone,
    Exchange,
)
from jettison.serving.http.predictions import Predictor
from jettison.serving.keys import KeyCheck
from jettison.serving.oip.http_messages import read_call, write_answer
from jettison.serving.oip.signature import Signature
from jettison.serving.observability import Detail, Observability
from jettison.serving.requests import Answer, InferenceRequest
from jettison.serving.settings import ServeSettings
from jettison.serving.versions import ServedVersion

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

OK = 200
FAILED = 500
OFF_LOOP_BYTES = 256 * 1024
"""Longer bodies are read on a thread, so that other calls go on meanwhile."""
SIGNATURES = 64


@dataclass(slots=True)
class Ending:
    """What is known about a call when it ends, for counts, logs and traces."""

    code: int = FAILED
    version: str = ""
    reason: str = ""
    rows: int = 0
    accepted: float = 0.0
    answer: Answer | None = None


class ModelCalls:
    """Answers `infer` and `predict`."""

    def __init__(
        self, repository: Repository, watch: Observability, settings: ServeSettings, keys: KeyCheck
    ) -> None:
        self._repository = repository
        self._watch = watch
        self._settings = settings
        self._keys = keys
        self._predictor = Predictor(settings)
        self._signatures: dict[ServedVersion, Signature] = {}

    def signature(self, served: ServedVersion) -> Signature:
        """The inputs and outputs of a version in the protocol's words."""
        known = self._signatures.get(served)
        if known is None:
            if len(self._signatures) >= SIGNATURES:
                self._signatures.clear()
            known = self._signatures[served] = Signature.of(served.model)
        return known

    async def infer(self, exchange: Exchange, name: str, version: str) -> None:
        """Answers tensors with tensors."""
        await self._call(exchange, name, version, self._infer)

    async def predict(self, exchange: Exchange, name: str, version: str) -> None:
        """Answers rows as their owner has them with labels and scores."""
        await self._call(exchange, name, version, self._predict)

    async def _call(
        self,
        exchange: Exchange,
        name: str,
        version: str,
        action: Callable[[Exchange, ServedVersion, str, Ending], Awaitable[None]],
    ) -> None:
        started = time.perf_counter()
        ending = Ending()
        self._watch.began()
        try:
            self._keys.check(exchange.header(b"authorization"), exchange.header(b"x-api-key"))
            served = self._repository.get(name, version)
            ending.version = served.version
            await action(exchange, served, version, ending)
            ending.code = OK
        except RequestRefused as refused:
            await self._refuse(exchange, name, refused, ending)
        except ClientGone:
            ending.code = CLIENT_GONE
        except asyncio.CancelledError:
            connection = exchange.connection
            if connection is None or not connection.gone:
                raise
            ending.code = CLIENT_GONE
        except JettisonError as error:
            await self._refuse(exchange, name, RequestRefused("failed", str(error)), ending)
        finally:
            seconds = time.perf_counter() - started
            detail = _detail(exchange, ending, started)
            self._watch.request(name, ending.version, ending.code, seconds, "http", detail)

    async def _refuse(
        self, exchange: Exchange, name: str, refused: RequestRefused, ending: Ending
    ) -> None:
        ending.code, ending.reason = refused.status, refused.reason
        if not ending.accepted:
            self._watch.rejected(name, refused.reason)
        await exchange.refuse(refused)

    async def _infer(
        self, exchange: Exchange, served: ServedVersion, version: str, ending: Ending
    ) -> None:
        body = await exchange.body(self._settings.max_body_bytes)
        signature = self.signature(served)
        if len(body) > OFF_LOOP_BYTES:
            call = await asyncio.to_thread(read_call, body, exchange.header_length, signature)
        else:
            call = read_call(body, exchange.header_length, signature)
        exchange.named(call.call_id)
        request = call.request(
            served.model,
            served.pad,
            self._settings.deadline_seconds,
            call.call_id or exchange.request_id,
        )
        answer = await self._ask(exchange, served, version, request, ending)
        head: dict[str, Any] = {"model_name": served.name, "model_version": answer.version}
        if call.call_id:
            head["id"] = call.call_id
        reply, json_length = write_answer(head, call.outputs, answer.arrays)
        if json_length is None:
            await exchange.reply(OK, reply)
        else:
            told = (HEADER_LENGTH, str(json_length).encode())
            await exchange.reply(OK, reply, OCTETS, (told,))

    async def _predict(
        self, exchange: Exchange, served: ServedVersion, version: str, ending: Ending
    ) -> None:
        body = await exchange.body(self._settings.max_body_bytes)
        asked = self._predictor.read(body, served)
        exchange.named(asked.call_id)
        request = await self._predictor.encode(
            asked, served, asked.call_id or exchange.request_id
        )
        answer = await self._ask(exchange, served, version, request, ending)
        await exchange.reply(OK, self._predictor.write(asked, served, answer))

    async def _ask(
        self,
        exchange: Exchange,
        served: ServedVersion,
        version: str,
        request: InferenceRequest,
        ending: Ending,
    ) -> Answer:
        """Waits for the rows; a caller who hangs up meanwhile cancels them."""
        ending.rows, ending.accepted = request.rows, time.perf_counter()
        connection = exchange.connection
        if connection is None:
            ending.answer = await self._repository.infer(served.name, request, version)
            return ending.answer
        connection.waiting = asyncio.current_task()
        try:
            ending.answer = await self._repository.infer(served.name, request, version)
        finally:
            connection.waiting = None
        return ending.answer


def _detail(exchange: Exchange, ending: Ending, started: float) -> Detail:
    return Detail(
        request_id=exchange.request_id,
        traceparent=exchange.header(b"traceparent").decode("latin-1"),
        tracestate=exchange.header(b"tracestate").decode("latin-1"),
        answer=ending.answer,
        reason=ending.reason,
        rows=ending.rows,
        accepted_after_seconds=max(0.0, ending.accepted - started),
    )
