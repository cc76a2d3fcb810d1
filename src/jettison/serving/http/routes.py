"""Routes that are not hot: metadata, health, the repository, outcomes, metrics, the page."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

import jettison
from jettison.errors import CheckFailed, JettisonError, RequestRefused, UsageError
from jettison.serving.http.exchange import error_body, refusal_headers
from jettison.serving.http.repository_routes import repository_routes
from jettison.serving.keys import KeyCheck
from jettison.serving.monitoring import parse_outcomes
from jettison.serving.observability import Observability
from jettison.serving.oip.http_messages import read_json
from jettison.serving.oip.metadata import model_metadata, server_metadata
from jettison.serving.oip.signature import Signatures
from jettison.serving.page import page_routes
from jettison.serving.settings import ServeSettings

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

JSON = "application/json"
OK, BAD_REQUEST, FAILED, NOT_READY = 200, 400, 500, 503


def make_routes(
    repository: Repository, watch: Observability, settings: ServeSettings, keys: KeyCheck
) -> FastAPI:
    """Makes the FastAPI application for everything but calls of a model.

    Args:
        repository: what is served.
        watch: what `/metrics` shows.
        settings: whether there is a page.
        keys: for changes; whether a caller may ask at all was checked before.
    """
    app = FastAPI(title="jettison", version=jettison.__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(HTTPException, _http_fault)
    app.add_exception_handler(JettisonError, _fault)
    app.include_router(health_routes(repository))
    app.include_router(metadata_routes(repository))
    app.include_router(repository_routes(repository, keys))
    app.include_router(watching_routes(repository, watch))
    if settings.page:
        app.include_router(page_routes(repository, watch))
    return app


def health_routes(repository: Repository) -> APIRouter:
    """Live as long as it answers; ready as long as every model answers."""
    router = APIRouter()

    @router.get("/v2/health/live")
    async def live() -> Response:
        """The server answers."""
        return as_json({"live": True})

    @router.get("/v2/health/ready")
    async def ready() -> Response:
        """Every model that should be served is."""
        is_ready = repository.ready()
        return as_json({"ready": is_ready}, OK if is_ready else NOT_READY)

    @router.get("/v2/models/{name}/ready")
    @router.get("/v2/models/{name}/versions/{version}/ready")
    async def model_ready(name: str, version: str = "") -> Response:
        """This model answers."""
        served = repository.get(name, version)
        return as_json({"name": served.name, "version": served.version, "ready": True})

    return router


def metadata_routes(repository: Repository) -> APIRouter:
    """What the server is, and what its models take and give."""
    router = APIRouter()
    signatures = Signatures()

    @router.get("/v2")
    @router.get("/v2/", include_in_schema=False)
    async def server() -> Response:
        """Name, version and extensions."""
        return as_json(server_metadata())

    @router.get("/v2/models/{name}")
    @router.get("/v2/models/{name}/versions/{version}")
    async def model(name: str, version: str = "") -> Response:
        """Inputs and outputs with names, data types and shapes."""
        served = repository.get(name, version)
        return as_json(model_metadata(served, repository.versions(name), signatures.of(served)))

    return router


def watching_routes(repository: Repository, watch: Observability) -> APIRouter:
    """Metrics out, outcomes in."""
    router = APIRouter()

    @router.get("/metrics")
    async def metrics() -> Response:
        """All metrics, as Prometheus reads them."""
        body, content_type = await watch.exposed()
        return Response(body, headers={"content-type": content_type})

    @router.post("/v2/models/{name}/outcomes")
    @router.post("/v2/models/{name}/versions/{version}/outcomes")
    async def outcomes(name: str, request: Request, version: str = "") -> Response:
        """What became true of rows that were answered before."""
        repository.monitor(name, version)
        body = await request.body()
        items = await asyncio.to_thread(lambda: parse_outcomes(read_json(body)))
        receipt = repository.outcomes(name, items, version)
        return as_json(dataclasses.asdict(receipt))

    return router


def as_json(told: Any, status: int = OK) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(told), status, media_type=JSON)


async def _refused(_: Request, refused: Exception) -> Response:
    if not isinstance(refused, RequestRefused):
        raise refused
    headers = {name.decode(): value.decode() for name, value in refusal_headers(refused)}
    return Response(error_body(str(refused)), refused.status, headers, JSON)


async def _fault(_: Request, error: Exception) -> Response:
    asked = isinstance(error, UsageError | CheckFailed)
    return Response(error_body(str(error)), BAD_REQUEST if asked else FAILED, media_type=JSON)


async def _http_fault(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    told = f"{request.method} {request.url.path}: {error.detail}"
    return Response(error_body(told), error.status_code, error.headers, JSON)
