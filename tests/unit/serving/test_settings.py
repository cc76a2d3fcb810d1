"""Settings of a server: all mistakes at once, and nothing open to others by accident."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jettison.errors import ConfigError
from jettison.serving.settings import ServeSettings, bytes_of


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_no_key(host: str) -> None:
    """Loopback addresses are served without a key."""
    assert ServeSettings(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org"])
def test_others_need_a_key_or_a_word(host: str) -> None:
    """Beyond loopback there must be a key, or an explicit `no_key`."""
    with pytest.raises(ConfigError, match="--key-file"):
        ServeSettings(host=host)
    assert not ServeSettings(host=host, key="k" * 32).is_loopback
    assert not ServeSettings(host=host, no_key=True).is_loopback


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """One error lists every wrong setting."""
    with pytest.raises(ConfigError) as caught:
        ServeSettings(
            http_port=70_000,
            deadline_seconds=0.0,
            drain_seconds=-1.0,
            threads=-1,
            shadow_share=1.5,
            max_body_bytes=0,
            tls_certificate=str(tmp_path / "absent.pem"),
        )
    told = str(caught.value)
    for word in (
        "port",
        "deadline_seconds",
        "drain_seconds",
        "threads",
        "shadow_share",
        "max_body_bytes",
        "absent.pem",
        "belong together",
    ):
        assert word in told, word


@pytest.mark.parametrize(
    "given",
    [
        {"http_port": 9000, "grpc_port": 9000},
        {"key": "k" * 32, "no_key": True},
        {"deadline_seconds": float("inf")},
        {"latency_target_seconds": float("nan")},
        {"tls_client_ca": __file__},
    ],
)
def test_what_can_not_be(given: dict[str, Any]) -> None:
    """Ports that collide, a key with `no_key`, endless times and a lone client CA are refused."""
    with pytest.raises(ConfigError):
        ServeSettings(**given)


def test_two_free_ports_do_not_collide() -> None:
    """0 stands for any free port, so both may be 0."""
    assert ServeSettings(http_port=0, grpc_port=0).grpc_port == 0


def test_the_key_is_not_shown() -> None:
    """The settings can be printed or logged without the key."""
    assert "secret" not in repr(ServeSettings(key="secret-secret-secret"))


@pytest.mark.parametrize("given", [0.0, -1.0, float("inf"), float("nan")])
def test_a_size_of_bodies_that_is_none(given: float) -> None:
    """What is no number of bytes is a mistake in what was asked, as any other."""
    with pytest.raises(ConfigError, match="`--max-body-mb` must be a number above 0"):
        bytes_of(given)
    with pytest.raises(ConfigError, match="`--max-queue-mb` must be"):
        bytes_of(given, "--max-queue-mb")
    assert bytes_of(0.5) == 512 * 1024
