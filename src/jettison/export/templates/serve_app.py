"""Serves the bundle beside this file on Ray Serve.

    serve run serve_app:app

Each replica is jettison's own server without the sockets: it checks the bundle, batches, and
answers the Open Inference Protocol v2 over the HTTP that Ray brings. `serve.json` holds what may
be changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve

from jettison.errors import CheckFailed, JettisonError
from jettison.serving.http.app import create_app
from jettison.serving.observability import Observability
from jettison.serving.repository import Repository
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource, key_from_file
from jettison.worker_client import QUIET

# Before a runtime is imported: its telemetry, and every library's way to the network, are off.
os.environ.update(QUIET)

HERE = Path(__file__).resolve().parent

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Settings:
    """What serve.json says.

    Attributes:
        name: of the model.
        digest: that the bundle must have.
        threads: computing threads of one call, as certified; the cores that a replica reserves.
        allow_uncertified: serve a bundle that no certificate covers.
        replicas: of the model.
        max_ongoing_requests: that Ray hands to one replica at a time.
        key_file: with the bearer key; empty if anyone may ask.
    """

    name: str
    digest: str
    threads: int
    allow_uncertified: bool
    replicas: int
    max_ongoing_requests: int
    key_file: str


class Replica:
    """One ASGI app: loads the bundle when Ray starts it, drains when Ray stops it."""

    def __init__(self, bundle: str, settings: Settings) -> None:
        self._bundle = bundle
        self._settings = settings

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Ray runs the lifespan and the requests on one event loop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-replica", self._replica)]
            await send(message)

        await self._app(scope, receive, named)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._start()
        except JettisonError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._repository.drain()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        wanted = self._settings
        key = key_from_file(Path(wanted.key_file)) if wanted.key_file else ""
        # Ray owns the sockets and says who reaches them, under any name; these settings only rule
        # what is accepted and how it is batched.
        settings = ServeSettings(
            host="0.0.0.0",
            key=key,
            no_key=not key,
            grpc_port=None,
            page=False,
            allow_uncertified=wanted.allow_uncertified,
        )
        watch = Observability()
        source = ServedSource(wanted.name, Path(self._bundle))
        self._repository = Repository((source,), watch, settings)
        watch.watch_quality(self._repository.readings)
        await self._repository.start()
        found = self._repository.get(wanted.name).digest
        if found != wanted.digest:
            raise CheckFailed(f"{self._bundle} is the bundle {found}, not {wanted.digest}")
        self._app = create_app(self._repository, watch, settings)
        self._replica = serve.get_replica_context().replica_id.unique_id.encode()


def build(settings: Settings) -> serve.Application:
    """The app: N replicas, each on the cores that were certified."""
    bundle = str(HERE / "bundle")

    def replica() -> Replica:
        return Replica(bundle, settings)

    deployment = serve.deployment(
        name=settings.name,
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.max_ongoing_requests,
        ray_actor_options={"num_cpus": settings.threads},
    )
    return deployment(serve.ingress(replica)()).bind()


app = build(Settings(**json.loads((HERE / "serve.json").read_text(encoding="utf-8"))))
