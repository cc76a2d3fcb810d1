"""A page whose own name was made to point here gets no answer (DNS rebinding)."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from jettison.errors import ConfigError
from jettison.serving.settings import ServeSettings
from jettison.serving.sources import ServedSource
from tests.serving_live import LiveServer

PATHS = ("/", "/metrics", "/v2/models/mlp", "/v2/health/live")


def asked_as(server: LiveServer, host: str, path: str, method: str = "GET") -> httpx.Response:
    """One request under the name of a host."""
    with server.client() as client:
        return client.request(method, path, headers={"host": host})


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example"])
def test_a_foreign_name_is_refused_everywhere(live: LiveServer, host: str) -> None:
    """The page, metrics, metadata, health and calls of a model: 421, in words, and counted."""
    answers = [asked_as(live, host, path) for path in PATHS]
    answers.append(asked_as(live, host, "/v2/models/mlp/infer", "POST"))
    assert {answer.status_code for answer in answers} == {421}
    assert all("--allowed-host" in answer.json()["error"] for answer in answers)
    assert host in answers[0].json()["error"]
    with live.client() as client:
        assert 'reason="host"' in client.get("/metrics").text


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1:80", "[::1]:8080", "127.1.2.3", "a.localhost."]
)
def test_names_of_this_machine_are_taken(live: LiveServer, host: str) -> None:
    """Whatever a caller on this machine may call it, with any port (a tunnel has another)."""
    assert asked_as(live, host, "/v2/health/live").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "[fe80::1]", "", "127.0.0.1.evil.example"])
def test_what_is_no_name_of_this_machine(live: LiveServer, host: str) -> None:
    """Other addresses, an empty name and a name that only begins like ours."""
    assert asked_as(live, host, "/v2/health/live").status_code == 421


def test_hosts_that_are_listed_are_the_only_ones_more(bundle: Path) -> None:
    """Behind a proxy its name is listed; the list holds with a key as well."""
    sources = (ServedSource("mlp", bundle),)
    key = "a-key-of-some-length"
    with LiveServer(sources, key=key, allowed_hosts=("models.example",)) as server:
        told = {
            host: asked_as(server, host, "/v2/health/live").status_code
            for host in ("models.example:443", "Models.Example", "localhost", "other.example")
        }
    assert told == {
        "models.example:443": 200,
        "Models.Example": 200,
        "localhost": 200,
        "other.example": 421,
    }


def test_a_server_with_a_key_goes_by_the_key(bundle: Path) -> None:
    """No page can make a browser send the key, so the name does not matter."""
    with LiveServer((ServedSource("mlp", bundle),), key="a-key-of-some-length") as server:
        assert asked_as(server, "evil.example", "/v2/health/live").status_code == 200
        assert asked_as(server, "evil.example", "/v2").status_code == 401


@pytest.mark.parametrize("name", ["https://a.example", "a.example:80", "a/b", "", "*"])
def test_a_name_that_is_none(name: str) -> None:
    """A scheme, a port, a path and a star are no part of a name."""
    with pytest.raises(ConfigError, match="allowed_hosts"):
        ServeSettings(allowed_hosts=(name,))
    assert ServeSettings(allowed_hosts=("::1", "a-b.example", "10.0.0.1")).allowed_hosts
