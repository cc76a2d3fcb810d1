"""Starts the gRPC side of a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from jettison.errors import UsageError
from jettison.serving.observability import Observability
from jettison.serving.rpc.arrival import in_time
from jettison.serving.rpc.messages import SERVICE, messages, methods
from jettison.serving.rpc.service import Service
from jettison.serving.settings import ServeSettings

if TYPE_CHECKING:
    from jettison.serving.repository import Repository

UNLIMITED = -1
LARGEST = 2**31 - 1
"""What an option of gRPC can hold."""

IDLE_SECONDS = 300
"""A connection without a call is closed after so long; clients open another by themselves."""

AGE_SECONDS = 1800
"""So old a connection takes no new calls; what runs on it may end. Callers behind a balancer are
spread anew, and whoever keeps a connection busy with nothing does not keep it for good."""

SILENCE_SECONDS, ANSWER_SECONDS = 60, 20
"""After so long without a byte the peer is asked whether it is there, and must answer in time."""


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
    service = Service(repository, watch, settings)
    server.add_generic_rpc_handlers((_handler(service, settings.read_seconds),))
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
    longest = settings.read_seconds + settings.deadline_seconds
    return [
        # Two servers on one port would share its calls without a word.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", min(settings.max_body_bytes, LARGEST)),
        ("grpc.max_send_message_length", UNLIMITED),
        ("grpc.server_handshake_timeout_ms", _milliseconds(settings.read_seconds)),
        ("grpc.max_connection_idle_ms", _milliseconds(IDLE_SECONDS)),
        ("grpc.max_connection_age_ms", _milliseconds(AGE_SECONDS)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(longest)),
        ("grpc.keepalive_time_ms", _milliseconds(SILENCE_SECONDS)),
        ("grpc.keepalive_timeout_ms", _milliseconds(ANSWER_SECONDS)),
    ]


def _milliseconds(seconds: float) -> int:
    return min(round(seconds * 1000), LARGEST)


def _handler(service: Service, read_seconds: float) -> Any:
    classes = messages()
    answers = service.methods()
    handlers = {
        name: grpc.stream_unary_rpc_method_handler(
            in_time(answers[name], read_seconds),
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
