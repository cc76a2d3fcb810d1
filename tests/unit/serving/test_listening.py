"""Sockets and TLS files, before anything is loaded."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from jettison.errors import UsageError
from jettison.serving.listening import bind, free_port, port_of, shown_host, tls_arguments
from jettison.serving.settings import ServeSettings


def make_pair(folder: Path, name: str) -> tuple[str, str]:
    """A key and a certificate that it signed."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"],
        check=True,
        capture_output=True,
    )
    return str(certificate), str(key)


def test_a_port_in_use() -> None:
    """The port and the option that names another are told."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 is in use.*--grpc-port"):
            bind("127.0.0.1", port, "--grpc-port")
        with pytest.raises(UsageError, match="in use"):
            free_port("127.0.0.1", port, "--port")


def test_any_free_port() -> None:
    """0 takes a free port, and says which."""
    with bind("127.0.0.1", 0, "--port") as listener:
        assert port_of(listener) > 0
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    assert free_port("127.0.0.1", 0, "--port") > 0


@pytest.mark.parametrize("host", ["no such host", "198.51.100.7"])
def test_no_address_of_this_machine(host: str) -> None:
    """A host that is none, or another machine's, is named."""
    with pytest.raises(UsageError, match=f"--host {host} is no address of this machine"):
        bind(host, 0, "--port")


def test_hosts_in_addresses() -> None:
    """An IPv6 address stands in brackets."""
    assert shown_host("::1") == "[::1]"
    assert shown_host("127.0.0.1") == "127.0.0.1"


def test_tls_files(tmp_path: Path) -> None:
    """A certificate and its key are taken; files that do not belong together are refused."""
    certificate, key = make_pair(tmp_path, "one")
    _, other = make_pair(tmp_path, "two")
    assert tls_arguments(ServeSettings()) == {}
    told = tls_arguments(ServeSettings(tls_certificate=certificate, tls_key=key))
    assert told == {"ssl_certfile": certificate, "ssl_keyfile": key}
    settings = ServeSettings(tls_certificate=certificate, tls_key=key, tls_client_ca=certificate)
    assert "ssl_cert_reqs" in tls_arguments(settings)
    for wrong in (other, certificate, __file__):
        with pytest.raises(UsageError, match="belong together"):
            tls_arguments(ServeSettings(tls_certificate=certificate, tls_key=wrong))
