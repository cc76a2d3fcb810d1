"""The routes of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from jettison.serving.page.document import document
from jettison.serving.page.state import facts, live

if TYPE_CHECKING:
    from jettison.serving.observability import Observability
    from jettison.serving.repository import Repository

NO_STORE = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def page_routes(repository: Repository, watch: Observability) -> APIRouter:
    """Makes `/`, which carries no data and needs no key, and the two that carry some and do.

    Args:
        repository: whose models are shown.
        watch: whose numbers are shown.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        """The page itself."""
        whole = document()
        return Response(whole.body, media_type="text/html", headers=dict(whole.headers))

    @router.get("/page/state")
    async def state() -> JSONResponse:
        """The live numbers; the page asks for them every other second."""
        shown: dict[str, Any] = live(repository, watch)
        return JSONResponse(shown, headers=NO_STORE)

    @router.get("/page/models/{name}/{version}")
    async def model(name: str, version: str) -> JSONResponse:
        """The facts of one version."""
        return JSONResponse(facts(repository.get(name, version)), headers=NO_STORE)

    return router
