"""A server that goes only so far: what each layer adds is the difference to the one before.

    python -m benchmarks.served.layers LAYER BUNDLE PORT

The layers stand in `LAYERS`. All of them listen as our server does, through the same connection; the
last is the server itself and is started as such. Whatever a layer leaves out, it answers with zeros.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
import uvloop

from jettison.domain.rows import Array, Batch
from jettison.serving.admission import admit
from jettison.serving.batcher import Batcher, BatchPolicy
from jettison.serving.engine import EngineThread
from jettison.serving.http.connection import http_config
from jettison.serving.http.direct import DirectCall, DirectCalls, Doors, Line
from jettison.serving.http.heads import Head
from jettison.serving.http.hosts import HostCheck
from jettison.serving.keys import KeyCheck
from jettison.serving.observability import Observability
from jettison.serving.oip.answers import AnswerWriter
from jettison.serving.oip.call import InferCall
from jettison.serving.oip.http_messages import CallReader
from jettison.serving.oip.signature import Signature
from jettison.serving.repository import Repository
from jettison.serving.request_ids import RequestIds
from jettison.serving.requests import Answer, InferenceRequest
from jettison.serving.settings import ServeSettings

CONNECTION, MESSAGES, CHECK, BATCHER = "connection", "messages", "check", "batcher"
LAYERS = (CONNECTION, MESSAGES, CHECK, BATCHER)
CAP = 32
DEADLINE_SECONDS = 5.0
CONSTANT = b"0" * 240


class Silent:
    """An observer that does nothing."""

    def waiting(self, rows: int) -> None: ...

    def batch(self, rows: int, queue_seconds: Sequence[float], compute_seconds: float) -> None: ...

    def rejected(self, reason: str) -> None: ...


class Layers:
    """What the calls of a layer need.

    Attributes:
        last: the last layer that is gone through.
    """

    def __init__(self, last: str, bundle: Path) -> None:
        self.last = last
        self.model = admit(bundle, 0).served.model
        signature = Signature.of(self.model)
        self.reader = CallReader(signature)
        self.writer = AnswerWriter("bench", signature)
        zeros = {
            spec.name: np.zeros((CAP, *(int(size or 1) for size in spec.shape[1:])), spec.dtype)
            for spec in self.model.outputs
        }
        self._zeros: Mapping[str, Array] = zeros
        self._thread = EngineThread("jettison-engine-zeros")
        policy = BatchPolicy(CAP, 100_000)
        self.batcher = Batcher(self._run, self.model, policy, Silent(), {}, "zeros")

    def answer(self, rows: int) -> Answer:
        """Zeros."""
        return Answer(self._some(rows), "zeros", 0.0, 0.0, rows)

    async def _run(self, batch: Batch) -> dict[str, Array]:
        return await self._thread.call(self._some, len(next(iter(batch.values()))))

    def _some(self, rows: int) -> dict[str, Array]:
        return {name: array[:rows] for name, array in self._zeros.items()}


class LayerCall(DirectCall):
    """A call that goes through the first layers only; it is not counted."""

    __slots__ = ("_layers", "_read")

    def __init__(self, layers: Layers, calls: DirectCalls, line: Line, head: Head) -> None:
        super().__init__(calls, line, head)
        self._layers = layers

    def begin(self, body: bytes) -> None:
        layers = self._layers
        if layers.last == CONNECTION:
            headers = b"content-length: %d\r\n" % len(CONSTANT)
            self._line.answered(self, 200, headers, CONSTANT)
            return
        call: InferCall = layers.reader.read(body, self._head.header_length)
        self._read = call
        if layers.last == MESSAGES:
            self._write(layers.answer(1))
            return
        request: InferenceRequest = call.request(layers.model, {}, DEADLINE_SECONDS, "")
        if layers.last == CHECK:
            self._write(layers.answer(request.rows))
        else:
            layers.batcher.accept(request, self)

    def set_result(self, answer: Answer, /) -> None:
        self._told = True
        self._calls.soon(self._write, answer)

    def _write(self, answer: Answer) -> None:
        if self.disconnected:
            return
        body, json_bytes = self._layers.writer.write(self._read, answer)
        more = (
            b"" if json_bytes is None else b"inference-header-content-length: %d\r\n" % json_bytes
        )
        headers = b"content-length: %d\r\n%b" % (len(body), more)
        self._line.answered(self, 200, headers, body)

    def hang_up(self) -> None:
        self.disconnected = True


class LayerCalls(DirectCalls):
    """Makes such calls."""

    def __init__(self, layers: Layers, settings: ServeSettings) -> None:
        watch = Observability()
        repository = Repository((), watch, settings)
        doors = Doors(KeyCheck(""), RequestIds(), HostCheck(settings))
        super().__init__(repository, watch, settings, doors)
        self._layers = layers

    def new_call(self, line: Line, head: Head) -> DirectCall:
        """A call of the layer."""
        return LayerCall(self._layers, self, line, head)


class LayerApp:
    """An application whose straight way is that of a layer; it has no other."""

    def __init__(self, direct: LayerCalls) -> None:
        self.direct: DirectCalls = direct

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers whatever does not go straight."""
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def serve(last: str, bundle: Path, port: int) -> None:
    """Listens for good."""
    settings = ServeSettings(http_port=port, grpc_port=None)
    app = LayerApp(LayerCalls(Layers(last, bundle), settings))
    gc.collect()
    gc.freeze()
    await uvicorn.Server(http_config(app, settings, loop="none")).serve()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
