"""Sockets and TLS files: what is wrong with them is said before anything is loaded."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any

from jettison.errors import UsageError
from jettison.serving.settings import ServeSettings

BACKLOG = 2048


def bind(host: str, port: int, option: str) -> socket.socket:
    """Listens on an address.

    Args:
        host: name or address.
        port: 0 for any free one.
        option: of the command line that names another port.

    Raises:
        UsageError: if the address can't be had; says what to do.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise UsageError(f"--host {host} is no address of this machine: {error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        # A server that just ended leaves its port waiting; a running one keeps it all the same.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(_why(host, port, option, error)) from error
    listener.setblocking(False)
    return listener


def port_of(listener: socket.socket) -> int:
    """The port that a socket listens on."""
    port: int = listener.getsockname()[1]
    return port


def free_port(host: str, port: int, option: str) -> int:
    """Checks that a port can be had by somebody who binds it later; 0 becomes a free one.

    Raises:
        UsageError: if it can't.
    """
    listener = bind(host, port, option)
    chosen = port_of(listener)
    listener.close()
    return chosen


def shown_host(host: str) -> str:
    """The host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def tls_arguments(settings: ServeSettings) -> dict[str, Any]:
    """What uvicorn is told about TLS; nothing where it is off.

    Raises:
        UsageError: if the files are no certificate and key that belong together.
    """
    if not settings.tls_certificate:
        return {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(
            f"the TLS files {settings.tls_certificate} and {settings.tls_key} can't be used "
            f"({error}): both must be PEM, and belong together"
        ) from error
    arguments: dict[str, Any] = {
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
    }
    if settings.tls_client_ca:
        arguments |= {
            "ssl_ca_certs": settings.tls_client_ca,
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
    return arguments


def _why(host: str, port: int, option: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use by another program: stop that, or choose another "
            f"port with {option} (0 takes any free one)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs rights that this user lacks; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine"
    return f"can't listen on {host} port {port}: {error}"
