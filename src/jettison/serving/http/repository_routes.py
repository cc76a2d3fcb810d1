"""What is served, and changing it: index, load, unload. Changes need the key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request, Response

from jettison.errors import RequestRefused
from jettison.serving.keys import KeyCheck
from jettison.serving.oip.http_messages import read_json
from jettison.serving.oip.metadata import repository_index
from jettison.serving.settings import ServeSettings
from jettison.serving.versions import ServedVersion

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
JSON = "application/json"


def repository_routes(repository: Repository, settings: ServeSettings) -> APIRouter:
    """The model repository extension of the protocol.

    Args:
        repository: what is served.
        settings: with the key.
    """
    router = APIRouter()
    keys = KeyCheck(settings.key)

    @router.post("/v2/repository/index")
    async def index(request: Request) -> Response:
        """Every name with its versions and states."""
        asked = await _object(request)
        ready = asked.get("ready", False)
        if type(ready) is not bool:
            raise RequestRefused("malformed", "`ready` must be true or false")
        return Response(orjson.dumps(repository_index(repository, ready=ready)), media_type=JSON)

    @router.post("/v2/repository/models/{name}/load")
    async def load(name: str, request: Request) -> Response:
        """Loads a bundle beside what is served, and swaps it in."""
        _check(keys, request)
        asked = _parameters(await _object(request), {"folder", "weight"})
        served = await load_version(repository, name, asked)
        told = {"name": served.name, "version": served.version, "certificate": served.label}
        return Response(orjson.dumps(told), media_type=JSON)

    @router.post("/v2/repository/models/{name}/unload")
    async def unload(name: str, request: Request) -> Response:
        """Takes a model out of service, once all that waits for it is answered."""
        _check(keys, request)
        asked = _parameters(await _object(request), {"version", "unload_dependents"})
        version = asked.get("version", "")
        if not isinstance(version, str):
            raise RequestRefused("malformed", "`version` must be a text")
        await repository.unload(name, version)
        return Response(b"{}", media_type=JSON)

    return router


async def load_version(
    repository: Repository, name: str, parameters: dict[str, Any]
) -> ServedVersion:
    """Loads a bundle that a caller may name.

    A caller over the network names no paths: only the folder that the name was started with, or,
    by `folder`, one that lies beside the bundle that is served.

    Args:
        repository: what is served.
        name: of the model.
        parameters: `folder`, and `weight` for a canary (its share of the requests).

    Raises:
        RequestRefused: `malformed` for other values; and what `Repository.load` raises.
    """
    weight = parameters.get("weight", 1.0)
    if type(weight) not in (int, float):
        raise RequestRefused("malformed", "`weight` must be a number above 0, at most 1")
    folder = parameters.get("folder", "")
    place = beside(Path(repository.get(name).folder), folder) if folder else None
    return await repository.load(name, place, float(weight))


def beside(served: Path, folder: object) -> Path:
    """The folder of that name beside the one that is served.

    Raises:
        RequestRefused: `malformed`, for a path, or a link that leads elsewhere.
    """
    if not isinstance(folder, str) or not FOLDER.fullmatch(folder):
        raise RequestRefused(
            "malformed",
            "`folder` must be the name of a folder beside the bundle that is served (letters, "
            "digits, `.`, `_`, `-`), not a path",
        )
    place = (served.parent / folder).resolve()
    if place.parent != served.parent.resolve():
        raise RequestRefused("malformed", f"`folder`: {folder} leads out of the folder of bundles")
    return place


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


def _parameters(asked: dict[str, Any], known: set[str]) -> dict[str, Any]:
    parameters = asked.get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestRefused("malformed", "`parameters` must be an object")
    unknown = sorted(parameters.keys() - known)
    if unknown:
        raise RequestRefused(
            "malformed",
            f"there is no parameter `{unknown[0]}` here; allowed: "
            f"{', '.join(f'`{name}`' for name in sorted(known))} (a bundle is loaded as it is)",
        )
    return parameters
