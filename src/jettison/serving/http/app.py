"""The ASGI application of a server: calls for a model go straight to it, the rest to FastAPI."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from jettison.errors import RequestRefused
from jettison.serving.http.direct import DirectCalls, Doors
from jettison.serving.http.exchange import (
    JSON,
    ClientGone,
    Exchange,
    Receive,
    Scope,
    Send,
    error_body,
)
from jettison.serving.http.hosts import HostCheck
from jettison.serving.http.model_calls import ModelCalls
from jettison.serving.http.routes import make_routes
from jettison.serving.keys import KeyCheck
from jettison.serving.observability import Observability
from jettison.serving.request_ids import RequestIds
from jettison.serving.settings import ServeSettings

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

MODELS = "/v2/models/"
OPEN = frozenset({"/", "/v2/health/live", "/v2/health/ready"})
"""What needs no key: probes of a load balancer, and the page, which carries no data."""

NOT_ALLOWED = 405


class Application:
    """One server over HTTP. Made by `create_app`, run by `jettison.serving.http.connection`.

    Attributes:
        direct: what connections need to let calls for tensors go straight to the queue.

    Under another ASGI server it works too, but for two things: slow senders are that server's
    business, and a caller who hangs up is noticed only when its answer is ready.
    """

    def __init__(
        self, repository: Repository, watch: Observability, settings: ServeSettings
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._hosts = HostCheck(settings)
        self._keys = KeyCheck(settings.key)
        self._ids = RequestIds()
        doors = Doors(self._keys, self._ids, self._hosts)
        self.direct = DirectCalls(repository, watch, settings, doors)
        self._calls = ModelCalls(repository, watch, settings, self._keys)
        self._verbs = {"infer": self._calls.infer, "predict": self._calls.predict}
        self._rest = make_routes(repository, watch, settings, self._keys)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answers one request. The coroutine of whoever answers is given back as it is: each one
        around it would cost half a microsecond.
        """
        exchange = Exchange(scope, receive, send, self._ids)
        if self._hosts.is_on:
            try:
                self._hosts.check(scope["headers"])
            except RequestRefused as refused:
                self._watch.rejected("", refused.reason)
                return exchange.refuse(refused)
        path: str = scope["path"]
        if path.startswith(MODELS):
            whose, _, verb = path[len(MODELS) :].rpartition("/")
            answer = self._verbs.get(verb)
            if answer is not None and whose:
                if scope["method"] != "POST":
                    told = error_body(f"`{verb}` is asked with POST")
                    return exchange.reply(NOT_ALLOWED, told, JSON, ((b"allow", b"POST"),))
                name, _, version = whose.partition("/versions/")
                return answer(exchange, name, version)
        return self._other(exchange, path)

    def close(self) -> None:
        """Lets go of threads; called once nothing is asked any more."""
        self._calls.close()

    async def _other(self, exchange: Exchange, path: str) -> None:
        """Everything that is not a call of a model: key and size are looked at, then FastAPI."""
        try:
            if path not in OPEN:
                authorization = exchange.header(b"authorization")
                self._keys.check(authorization, exchange.header(b"x-api-key"))
            body = await exchange.body(self._settings.max_body_bytes)
        except RequestRefused as refused:
            await exchange.refuse(refused)
        except ClientGone:
            pass
        else:
            await self._rest(exchange.scope, exchange.replayed(body), exchange.labelled())


def create_app(
    repository: Repository, watch: Observability, settings: ServeSettings
) -> Application:
    """Makes the application of a server.

    Args:
        repository: what is served; all calls come on the event loop that it belongs to.
        watch: counts and times every call.
        settings: key, limits, deadline, page.
    """
    return Application(repository, watch, settings)
