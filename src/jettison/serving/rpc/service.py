"""The methods of the service."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import grpc

from jettison.errors import CheckFailed, JettisonError, RequestRefused, UsageError
from jettison.serving.keys import KeyCheck
from jettison.serving.observability import Observability
from jettison.serving.oip.changes import load_version, unload_version
from jettison.serving.oip.ending import CLIENT_GONE, OK, Ending
from jettison.serving.oip.metadata import model_metadata, repository_index, server_metadata
from jettison.serving.oip.signature import Signatures
from jettison.serving.request_ids import RequestIds
from jettison.serving.rpc.arrival import Method
from jettison.serving.rpc.conversion import plain_parameters, read_call, write_answer
from jettison.serving.rpc.messages import messages
from jettison.serving.settings import ServeSettings

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

CODES: Mapping[str, grpc.StatusCode] = {
    "shape": grpc.StatusCode.INVALID_ARGUMENT,
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "guardrail": grpc.StatusCode.INVALID_ARGUMENT,
    "key": grpc.StatusCode.UNAUTHENTICATED,
    "host": grpc.StatusCode.PERMISSION_DENIED,
    "unknown": grpc.StatusCode.NOT_FOUND,
    "too large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "failed": grpc.StatusCode.INTERNAL,
    "drain": grpc.StatusCode.UNAVAILABLE,
    "not ready": grpc.StatusCode.UNAVAILABLE,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""Reason of a refusal -> status."""

OFF_LOOP_BYTES = 256 * 1024
OPEN = frozenset({"ServerLive", "ServerReady"})
CHANGES = frozenset({"RepositoryModelLoad", "RepositoryModelUnload"})


class Service:
    """Answers every method of the service, on the event loop of the repository."""

    def __init__(
        self, repository: Repository, watch: Observability, settings: ServeSettings
    ) -> None:
        self._repository = repository
        self._watch = watch
        self._settings = settings
        self._keys = KeyCheck(settings.key)
        self._ids = RequestIds()
        self._signatures = Signatures()
        self._messages = messages()

    def methods(self) -> Mapping[str, Method]:
        """Method -> what answers it: the key is checked first, and refusals become statuses."""
        plain: Mapping[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        guarded = {name: self._guarded(name, method) for name, method in plain.items()}
        return {**guarded, "ModelInfer": self._infer}

    def _guarded(self, name: str, method: Method) -> Method:
        check = self._keys.check_change if name in CHANGES else self._keys.check

        async def answer(request: Any, context: Any) -> Any:
            try:
                if name not in OPEN:
                    check(*_shown_key(_metadata(context)))
                return await method(request, context)
            except RequestRefused as refused:
                await _refuse(context, refused)
            except (UsageError, CheckFailed) as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except JettisonError as error:
                await context.abort(grpc.StatusCode.INTERNAL, str(error))

        return answer

    async def _infer(self, request: Any, context: Any) -> Any:
        sent = _metadata(context)
        request_id, given = self._ids.of(request.id, sent.get("x-request-id", ""))
        ending = Ending(request.model_name, "grpc", request_id=request_id)
        ending.traceparent = sent.get("traceparent", "")
        ending.tracestate = sent.get("tracestate", "")
        context.set_trailing_metadata((("x-request-id", given),))
        self._watch.began()
        try:
            self._keys.check(*_shown_key(sent))
            response = await self._answered(request, context, ending)
            ending.code = OK
            return response
        except RequestRefused as refused:
            ending.refused(refused, self._watch)
            await _refuse(context, refused, given)
        except JettisonError as error:
            failed = RequestRefused("failed", str(error))
            ending.refused(failed, self._watch)
            await _refuse(context, failed, given)
        except asyncio.CancelledError:
            ending.code = CLIENT_GONE
            raise
        finally:
            ending.tell(self._watch)

    async def _answered(self, request: Any, context: Any, ending: Ending) -> Any:
        served = self._repository.get(request.model_name, request.model_version)
        ending.version = served.version
        signature = self._signatures.of(served)
        if _size_of(request) > OFF_LOOP_BYTES:
            call = await asyncio.to_thread(read_call, request, signature)
        else:
            call = read_call(request, signature)
        seconds, remaining = self._settings.deadline_seconds, context.time_remaining()
        if remaining is not None:
            seconds = min(seconds, remaining)
        asked = call.request(served.model, served.pad, seconds, ending.request_id)
        ending.accepted(asked)
        answer = await self._repository.infer(served.name, asked, request.model_version)
        ending.answered(answer)
        return write_answer(served.name, call, answer)

    async def _server_live(self, request: Any, context: Any) -> Any:
        return self._messages["ServerLiveResponse"](live=True)

    async def _server_ready(self, request: Any, context: Any) -> Any:
        return self._messages["ServerReadyResponse"](ready=self._repository.ready())

    async def _model_ready(self, request: Any, context: Any) -> Any:
        self._repository.get(request.name, request.version)
        return self._messages["ModelReadyResponse"](ready=True)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return self._messages["ServerMetadataResponse"](**server_metadata())

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        served = self._repository.get(request.name, request.version)
        versions = self._repository.versions(request.name)
        told = model_metadata(served, versions, self._signatures.of(served))
        return self._messages["ModelMetadataResponse"](**told)

    async def _index(self, request: Any, context: Any) -> Any:
        told = repository_index(self._repository, ready=request.ready)
        return self._messages["RepositoryIndexResponse"](models=told)

    async def _load(self, request: Any, context: Any) -> Any:
        parameters = plain_parameters(request.parameters)
        await load_version(self._repository, request.model_name, parameters)
        return self._messages["RepositoryModelLoadResponse"]()

    async def _unload(self, request: Any, context: Any) -> Any:
        parameters = plain_parameters(request.parameters)
        await unload_version(self._repository, request.model_name, parameters)
        return self._messages["RepositoryModelUnloadResponse"]()


def _metadata(context: Any) -> dict[str, str]:
    """What came with a call; binary values are of no use here."""
    return {
        name: value for name, value in context.invocation_metadata() or () if type(value) is str
    }


def _size_of(request: Any) -> int:
    """Bytes of the tensors of a call, raw or typed."""
    typed = sum(one.contents.ByteSize() for one in request.inputs if one.HasField("contents"))
    return sum(map(len, request.raw_input_contents), typed)


def _shown_key(sent: Mapping[str, str]) -> tuple[bytes, bytes]:
    return (
        sent.get("authorization", "").encode("utf-8", "replace"),
        sent.get("x-api-key", "").encode("utf-8", "replace"),
    )


async def _refuse(context: Any, refused: RequestRefused, request_id: str = "") -> None:
    """Ends a call with a status; `abort` raises."""
    more: list[tuple[str, str]] = []
    if request_id:
        more.append(("x-request-id", request_id))
    if refused.retry_after_seconds is not None:
        more.append(("retry-after", str(max(1, math.ceil(refused.retry_after_seconds)))))
    await context.abort(CODES[refused.reason], str(refused), tuple(more))
