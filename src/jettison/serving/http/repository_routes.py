"""What is served, and changing it: index, load, unload. Changes need the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request, Response

from jettison.errors import RequestRefused
from jettison.serving.keys import KeyCheck
from jettison.serving.oip.changes import load_version, unload_version
from jettison.serving.oip.http_messages import read_json
from jettison.serving.oip.metadata import repository_index

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

JSON = "application/json"


def repository_routes(repository: Repository, keys: KeyCheck) -> APIRouter:
    """The model repository extension of the protocol.

    Args:
        repository: what is served.
        keys: of the server.
    """
    router = APIRouter()

    @router.post("/v2/repository/index")
    async def index(request: Request) -> Response:
        """Every name with its versions and states."""
        ready = (await _object(request)).get("ready", False)
        if type(ready) is not bool:
            raise RequestRefused("malformed", "`ready` must be true or false")
        return _json(repository_index(repository, ready=ready))

    @router.post("/v2/repository/models/{name}/load")
    async def load(name: str, request: Request) -> Response:
        """Loads a bundle beside what is served, and swaps it in."""
        _check(keys, request)
        served = await load_version(repository, name, await _parameters(request))
        return _json(
            {"name": served.name, "version": served.version, "certificate": served.label}
        )

    @router.post("/v2/repository/models/{name}/unload")
    async def unload(name: str, request: Request) -> Response:
        """Takes a model out of service, once all that waits for it is answered."""
        _check(keys, request)
        await unload_version(repository, name, await _parameters(request))
        return _json({})

    return router


def _check(keys: KeyCheck, request: Request) -> None:
    headers = request.headers
    keys.check_change(
        headers.get("authorization", "").encode("latin-1"),
        headers.get("x-api-key", "").encode("latin-1"),
    )


async def _object(request: Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object."""
    body = await request.body()
    return read_json(body) if body.strip() else {}


async def _parameters(request: Request) -> dict[str, object]:
    parameters = (await _object(request)).get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestRefused("malformed", "`parameters` must be an object")
    return parameters


def _json(told: Any) -> Response:
    return Response(orjson.dumps(told), media_type=JSON)
