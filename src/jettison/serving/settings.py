"""`ServeSettings`: how a server listens, what it takes, and how long it waits."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jettison.errors import ConfigError
from jettison.serving.guarding import Guardrails

MEBIBYTE = 1024 * 1024
QUEUE_BYTES = 256 * MEBIBYTE
"""Memory that waiting inputs may take where nobody says otherwise."""

LARGEST_PORT = 65_535
HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\]?")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Everything that a server depends on besides its bundles.

    Attributes:
        host: address that is listened on.
        http_port, grpc_port: 0 takes any free port; `None` leaves gRPC out.
        key: bearer key; empty needs `no_key` beyond loopback. Loading and unloading need one.
        no_key: listen beyond loopback without a key, on purpose.
        tls_certificate, tls_key: PEM files; both or none.
        tls_client_ca: PEM file; callers must show a certificate that it signed.
        allowed_hosts: names by which callers may call this server (the `Host` header), for one
            behind a proxy; empty: on loopback without a key, only names of this machine.
        max_body_bytes: of one request.
        max_connections: open at once over HTTP; calls at once over gRPC.
        read_seconds: a client that has not sent its whole request by then is cut off.
        deadline_seconds: longest that a request may take when it names no shorter time.
        latency_target_seconds: the batch cap is measured so that one batch takes no longer.
        hold_seconds: longest wait for a batch mate that recent arrivals promise; 0 never waits.
        max_batch_rows: cap that the user fixed; 0 measures it.
        max_queue_bytes: memory that waiting inputs may take, for each version; at least a full
            batch, and a request that nothing waits before, are taken all the same.
        threads: computing threads of one call; 0 takes those of the certificate.
        drain_seconds: longest that a stopping server goes on answering what it accepted.
        guardrails: model -> guardrail -> settings, asked before the queue.
        allow_uncertified: serve what no valid certificate covers, labelled so everywhere.
        approvers: public keys, one of which must have approved each bundle that answers; none: no
            approval is asked for.
        shadow_share: share of the requests that the shadow answers too.
        state_folder: where the evidence about certified margins is kept through restarts; empty for
            nowhere.
        page: whether `/` shows the page.
        trace_endpoint: OTLP address for traces; empty for none.
        trace_share: share of the requests without a trace of their own that get one.
        access_lines_per_second: log lines of answers at most, and as many of refusals; 0 for none.
        ready_file: written with the addresses once the server is ready; empty for none.
    """

    host: str = "127.0.0.1"
    http_port: int = 8080
    grpc_port: int | None = 8081
    key: str = field(default="", repr=False)
    no_key: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: int = 64 * MEBIBYTE
    max_connections: int = 4096
    read_seconds: float = 10.0
    deadline_seconds: float = 5.0
    latency_target_seconds: float = 0.1
    hold_seconds: float = 0.0
    max_batch_rows: int = 0
    max_queue_bytes: int = QUEUE_BYTES
    threads: int = 0
    drain_seconds: float = 30.0
    guardrails: Mapping[str, Guardrails] = field(default_factory=dict)
    allow_uncertified: bool = False
    approvers: tuple[str, ...] = ()
    shadow_share: float = 0.05
    state_folder: str = ""
    page: bool = True
    trace_endpoint: str = ""
    trace_share: float = 1.0
    access_lines_per_second: float = 20.0
    ready_file: str = ""

    def __post_init__(self) -> None:
        problems = [
            *_ports(self),
            *_numbers(self),
            *_tls(self),
            *_exposure(self),
            *_ready_file(self),
        ]
        if problems:
            raise ConfigError(problems)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def bytes_of(mebibytes: float, option: str = "--max-body-mb") -> int:
    """Bytes of what an option in MiB says.

    Raises:
        ConfigError: if it is no number above 0.
    """
    if not 0 < mebibytes < math.inf:
        raise ConfigError([f"`{option}` must be a number above 0; got {mebibytes}"])
    return math.ceil(mebibytes * MEBIBYTE)


def _ports(settings: ServeSettings) -> list[str]:
    given = {"port": settings.http_port, "grpc_port": settings.grpc_port}
    problems = [
        f"`{name}` must be from 0 (any free port) to {LARGEST_PORT}; got {port}"
        for name, port in given.items()
        if port is not None and not 0 <= port <= LARGEST_PORT
    ]
    if settings.http_port and settings.http_port == settings.grpc_port:
        problems.append(f"HTTP and gRPC can't share port {settings.http_port}; name another")
    return problems


def _numbers(settings: ServeSettings) -> list[str]:
    problems: list[str] = []
    for name in ("read_seconds", "deadline_seconds", "latency_target_seconds"):
        value = getattr(settings, name)
        if not (value > 0 and math.isfinite(value)):
            problems.append(f"`{name}` must be above 0; got {value}")
    for name in ("hold_seconds", "drain_seconds", "access_lines_per_second"):
        value = getattr(settings, name)
        if not (value >= 0 and math.isfinite(value)):
            problems.append(f"`{name}` must be 0 or more; got {value}")
    for name in ("max_body_bytes", "max_connections", "max_queue_bytes"):
        if getattr(settings, name) < 1:
            problems.append(f"`{name}` must be at least 1; got {getattr(settings, name)}")
    for name in ("max_batch_rows", "threads"):
        if getattr(settings, name) < 0:
            problems.append(
                f"`{name}` must be 0 (found out) or more; got {getattr(settings, name)}"
            )
    for name in ("shadow_share", "trace_share"):
        if not 0.0 <= getattr(settings, name) <= 1.0:
            problems.append(f"`{name}` must be from 0 to 1; got {getattr(settings, name)}")
    return problems


def _tls(settings: ServeSettings) -> list[str]:
    named = {
        name: getattr(settings, name) for name in ("tls_certificate", "tls_key", "tls_client_ca")
    }
    problems = [
        f"`{name}`: there is no file {path}"
        for name, path in named.items()
        if path and not Path(path).is_file()
    ]
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        problems.append("`tls_certificate` and `tls_key` belong together; give both or none")
    if settings.tls_client_ca and not settings.tls_certificate:
        problems.append("`tls_client_ca` needs `tls_certificate` and `tls_key`")
    return problems


def _ready_file(settings: ServeSettings) -> list[str]:
    """It is written once everything is loaded; what stands in its way is told before."""
    path = Path(settings.ready_file)
    if not settings.ready_file or (path.absolute().parent.is_dir() and not path.is_dir()):
        return []
    return [f"`ready_file`: {path} must be a file in a folder that is there"]


def _exposure(settings: ServeSettings) -> list[str]:
    problems = [
        f"`allowed_hosts`: `{name}` is no name of a host; give it without scheme, port and path"
        for name in settings.allowed_hosts
        if not HOST_NAME.fullmatch(name)
    ]
    if settings.key and settings.no_key:
        return [*problems, "a key and `no_key` exclude each other; give one"]
    if settings.is_loopback or settings.key or settings.no_key:
        return problems
    return [
        *problems,
        f"{settings.host} can be reached from other machines, and there is no key: give "
        "--key-file, or say --no-key if anyone may ask (127.0.0.1 stays on this machine)",
    ]
