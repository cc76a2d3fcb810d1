"""Starts the gRPC side of a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from jettison.errors import UsageError
from jettison.serving.observability import Observability
from jettison.serving.rpc.messages import SERVICE, messages, methods
from jettison.serving.rpc.service import Service
from jettison.serving.settings import ServeSettings

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

UNLIMITED = -1


async def start_grpc(
    repository: Repository, watch: Observability, settings: ServeSettings
) -> aio.Server:
    """Listens and answers, on the running event loop.

    Args:
        repository: what is served.
        watch: counts and times every call.
        settings: address, key, TLS files, limits.

    Raises:
        UsageError: if the address can't be had.
    """
    server = aio.server(
        options=_options(settings), maximum_concurrent_rpcs=settings.max_connections
    )
    server.add_generic_rpc_handlers((_handler(Service(repository, watch, settings)),))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port or 0}"
    try:
        if settings.tls_certificate:
            server.add_secure_port(address, _credentials(settings))
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise UsageError(
            f"gRPC can't listen on {address} (in use, or no address of this machine): name another "
            "port with --grpc-port"
        ) from error
    await server.start()
    return server


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        # Two servers on one port would share its calls without a word.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", UNLIMITED),
        ("grpc.server_handshake_timeout_ms", round(settings.read_seconds * 1000)),
    ]


def _handler(service: Service) -> Any:
    classes = messages()
    answers = service.methods()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            answers[name],
            request_deserializer=classes[request].FromString,
            response_serializer=classes[response].SerializeToString,
        )
        for name, (request, response) in methods().items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _credentials(settings: ServeSettings) -> grpc.ServerCredentials:
    pair = (Path(settings.tls_key).read_bytes(), Path(settings.tls_certificate).read_bytes())
    ca = Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)
