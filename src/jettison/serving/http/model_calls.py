"""Calls that a model answers: one way in, one count, one place where refusals and hang-ups end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from jettison.errors import JettisonError, RequestRefused
from jettison.serving.http.exchange import HEADER_LENGTH, OCTETS, ClientGone, Exchange
from jettison.serving.http.predictions import Predictor
from jettison.serving.keys import KeyCheck
from jettison.serving.observability import Observability
from jettison.serving.oip.desks import Desks
from jettison.serving.oip.ending import CLIENT_GONE, OK, Ending
from jettison.serving.requests import Answer, InferenceRequest
from jettison.serving.settings import ServeSettings
from jettison.serving.versions import ServedVersion

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

OFF_LOOP_BYTES = 256 * 1024
"""Longer bodies are read on a thread, so that other calls go on meanwhile."""


class Target:
    """What a call is for, and what becomes of it.

    Attributes:
        exchange: the request and its answer.
        served: the version whose signature counts.
        version: that the caller named; empty for whichever answers.
        ending: what is told about the call.
    """

    __slots__ = ("ending", "exchange", "served", "version")

    def __init__(
        self, exchange: Exchange, served: ServedVersion, version: str, ending: Ending
    ) -> None:
        self.exchange = exchange
        self.served = served
        self.version = version
        self.ending = ending


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
        self._desks = Desks()

    def close(self) -> None:
        """Lets go of threads; called once nothing is asked any more."""
        self._predictor.close()

    def infer(self, exchange: Exchange, name: str, version: str) -> Awaitable[None]:
        """Answers tensors with tensors."""
        return self._call(exchange, name, version, self._infer)

    def predict(self, exchange: Exchange, name: str, version: str) -> Awaitable[None]:
        """Answers rows as their owner has them with labels and scores."""
        return self._call(exchange, name, version, self._predict)

    async def _call(
        self,
        exchange: Exchange,
        name: str,
        version: str,
        action: Callable[[Target], Awaitable[None]],
    ) -> None:
        ending = Ending(name, "http")
        ending.traceparent, ending.tracestate = exchange.trace
        self._watch.began()
        try:
            if self._keys.is_asked:
                self._keys.check(exchange.header(b"authorization"), exchange.header(b"x-api-key"))
            served = self._repository.get(name, version)
            ending.version = served.version
            await action(Target(exchange, served, version, ending))
            ending.code = OK
        except RequestRefused as refused:
            ending.refused(refused, self._watch)
            await exchange.refuse(refused)
        except ClientGone:
            ending.code = CLIENT_GONE
        except asyncio.CancelledError:
            connection = exchange.connection
            if connection is None or not connection.gone:
                raise
            ending.code = CLIENT_GONE
        except JettisonError as error:
            failed = RequestRefused("failed", str(error))
            ending.refused(failed, self._watch)
            await exchange.refuse(failed)
        finally:
            ending.request_id = exchange.request_id
            ending.tell(self._watch)

    async def _infer(self, target: Target) -> None:
        exchange, served = target.exchange, target.served
        body = await exchange.body(self._settings.max_body_bytes)
        desk = self._desks.of(served)
        if len(body) > OFF_LOOP_BYTES:
            call = await asyncio.to_thread(desk.reader.read, body, exchange.header_length)
        else:
            call = desk.reader.read(body, exchange.header_length)
        request_id = exchange.identify(call.call_id)
        longest = self._settings.deadline_seconds
        request = call.request(served.model, served.pad, longest, request_id)
        answer = await self._ask(target, request)
        reply, json_length = desk.writer.write(call, answer)
        if json_length is None:
            await exchange.reply(OK, reply)
        else:
            told = (HEADER_LENGTH, str(json_length).encode())
            await exchange.reply(OK, reply, OCTETS, (told,))

    async def _predict(self, target: Target) -> None:
        exchange, name, version = target.exchange, target.served.name, target.version
        body = await exchange.body(self._settings.max_body_bytes)
        while True:
            # Rows are encoded, and answers named, by the bundle of the version that answers.
            served = target.served = self._repository.pick(name, version)
            target.ending.version = target.version = served.version
            if len(body) > OFF_LOOP_BYTES:
                asked = await asyncio.to_thread(self._predictor.read, body, served)
            else:
                asked = self._predictor.read(body, served)
            request_id = exchange.identify(asked.call_id)
            request, lengths = await self._predictor.encode(asked, served, request_id)
            if served in self._repository.versions(name):
                break
            # It was swapped out meanwhile: whoever took its place encodes in another way.
        answer = await self._ask(target, request)
        await exchange.reply(OK, self._predictor.write(asked, served, answer, lengths))

    async def _ask(self, target: Target, request: InferenceRequest) -> Answer:
        """Waits for the rows; a caller who hangs up meanwhile cancels them.

        Raises:
            ClientGone: if the caller hung up while its rows were read.
        """
        name, connection = target.served.name, target.exchange.connection
        if connection is not None and connection.gone:
            raise ClientGone
        target.ending.accepted(request)
        if connection is None:
            answer = await self._repository.infer(name, request, target.version)
        else:
            connection.cancel_if_gone(asyncio.current_task())
            try:
                answer = await self._repository.infer(name, request, target.version)
            finally:
                connection.cancel_if_gone(None)
        target.ending.answered(answer)
        return answer
