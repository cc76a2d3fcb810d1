"""With a key: who may ask, who may change what is served, and what a change may name."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.serving.keys import KeyCheck
from jettison.serving.sources import ServedSource
from tests.serving_live import LiveServer
from tests.unit.serving.http.test_calls import INFER, body

KEY = "a-key-of-some-length"


@pytest.fixture(scope="module")
def folder(bundle: Path, other_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles beside each other, and a link that leads elsewhere."""
    place = tmp_path_factory.mktemp("bundles")
    shutil.copytree(bundle, place / "release-a")
    shutil.copytree(other_bundle, place / "release-b")
    (place / "elsewhere").symlink_to(other_bundle)
    (place / "broken").mkdir()
    return place


@pytest.fixture(scope="module")
def keyed(folder: Path) -> Iterator[LiveServer]:
    """A server that asks for a key."""
    source = ServedSource("mlp", folder / "release-a")
    with LiveServer([source], key=KEY, max_batch_rows=4) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": ""},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", INFER),
        ("POST", "/v2/models/mlp/predict"),
        ("POST", "/v2/models/mlp/outcomes"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/mlp/load"),
        ("POST", "/v2/repository/models/mlp/unload"),
        ("GET", "/v2"),
        ("GET", "/v2/models/mlp"),
        ("GET", "/metrics"),
        ("GET", "/page/state"),
        ("GET", "/openapi.json"),
        ("GET", "/nowhere"),
    ],
)
def test_a_wrong_key_opens_nothing(
    keyed: LiveServer, headers: dict[str, str], method: str, path: str
) -> None:
    """Without the key everything is 401, and says which header to send; the body stays unread."""
    with keyed.client() as client:
        reply = client.request(method, path, headers=headers)
    assert reply.status_code == 401
    assert "Bearer" in reply.json()["error"]
    assert reply.headers["www-authenticate"].startswith("Bearer")


def test_the_key_opens(keyed: LiveServer) -> None:
    """As bearer, in any case of the word, or as API key."""
    for headers in (
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"x-api-key": KEY},
    ):
        with keyed.client() as client:
            assert client.post(INFER, json=body(), headers=headers).status_code == 200
            assert client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v2/health/live", "/v2/health/ready"])
def test_probes_and_the_page_need_no_key(keyed: LiveServer, path: str) -> None:
    """A balancer can look, and the page, which carries no data, can ask for the key."""
    with keyed.client() as client:
        assert client.get(path).status_code == 200


def test_a_bundle_beside_is_loaded_and_swapped_in(keyed: LiveServer) -> None:
    """A sibling folder becomes the next version; without a folder the first one is loaded again."""
    with keyed.client(KEY) as client:
        before = client.get("/v2/models/mlp").json()["versions"]
        told = {"parameters": {"folder": "release-b"}}
        loaded = client.post("/v2/repository/models/mlp/load", json=told)
        assert loaded.status_code == 200, loaded.text
        after = client.get("/v2/models/mlp").json()["versions"]
        assert after == [loaded.json()["version"]] != before
        answer = client.post(INFER, json=body()).json()
        assert answer["model_version"] == after[0]
        assert client.post("/v2/repository/models/mlp/load").status_code == 200
        assert client.get("/v2/models/mlp").json()["versions"] == before


def test_a_canary_is_loaded_and_taken_out(keyed: LiveServer) -> None:
    """With a weight a bundle stands beside the stable version, and goes by its version."""
    with keyed.client(KEY) as client:
        told = {"parameters": {"folder": "release-b", "weight": 0.5}}
        canary = client.post("/v2/repository/models/mlp/load", json=told).json()["version"]
        versions = client.get("/v2/models/mlp").json()["versions"]
        assert len(versions) == 2
        answered = {client.post(INFER, json=body()).json()["model_version"] for _ in range(60)}
        assert answered == set(versions)
        gone = {"parameters": {"version": canary}}
        assert client.post("/v2/repository/models/mlp/unload", json=gone).status_code == 200
        assert client.get("/v2/models/mlp").json()["versions"] == versions[:1]


def test_the_public_client_unloads_and_loads(keyed: LiveServer) -> None:
    """The client's own calls, with the key as a header; an unloaded model is 404 and listed so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gevent and geventhttpclient, on import
        triton = pytest.importorskip("tritonclient.http")
    headers = {"authorization": f"Bearer {KEY}"}
    with triton.InferenceServerClient(keyed.host) as client:
        client.unload_model("mlp", headers=headers)
        assert not client.is_model_ready("mlp", headers=headers)
        (entry,) = client.get_model_repository_index(headers=headers)
        assert (entry["name"], entry["state"]) == ("mlp", "UNAVAILABLE")
        with keyed.client(KEY) as plain:
            assert plain.post(INFER, json=body()).status_code == 404
        client.load_model("mlp", headers=headers)
        assert client.is_model_ready("mlp", headers=headers)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"folder": "/etc"}, "not a path"),
        ({"folder": "../release-b"}, "not a path"),
        ({"folder": "release-b/model"}, "not a path"),
        ({"folder": ".."}, "not a path"),
        ({"folder": ""}, "not a path"),
        ({"folder": ["release-b"]}, "not a path"),
        ({"folder": "elsewhere"}, "leads out of"),
        ({"folder": "missing"}, "no bundle at"),
        ({"folder": "broken"}, "not a jettison bundle"),
        ({"weight": 0.0}, "must be above 0"),
        ({"weight": True}, "must be a number"),
        ({"weight": "1"}, "must be a number"),
        ({"config": "{}"}, "no parameter `config`"),
        ({"file:1/model.onnx": "AAAA"}, "no parameter `file:"),
    ],
)
def test_what_a_load_may_not_name(
    keyed: LiveServer, parameters: dict[str, object], told: str
) -> None:
    """No path, no link elsewhere, no files from the caller; what is served stays."""
    with keyed.client(KEY) as client:
        before = client.get("/v2/models/mlp").json()["versions"]
        reply = client.post("/v2/repository/models/mlp/load", json={"parameters": parameters})
        assert reply.status_code == 400, reply.text
        assert told in reply.json()["error"]
        assert client.get("/v2/models/mlp").json()["versions"] == before
        assert client.post(INFER, json=body()).status_code == 200


def test_a_server_without_a_key_changes_nothing() -> None:
    """Nobody may change what is served where there is no key to tell people apart."""
    from jettison.errors import RequestRefused

    KeyCheck("").check(b"", b"")
    with pytest.raises(RequestRefused, match="--key-file"):
        KeyCheck("").check_change(b"Bearer ", b"")
