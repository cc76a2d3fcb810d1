"""Calls over HTTP as any client may send them: right, wrong, and without manners."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving_bundle import FEATURES
from tests.serving_live import LiveServer

INFER = "/v2/models/mlp/infer"


def body(rows: int = 1, **changes: Any) -> dict[str, Any]:
    """A call of the network that is right, but for the changes."""
    data = np.linspace(-1, 1, rows * FEATURES).tolist()
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, FEATURES], "data": data}
    return {"inputs": [tensor | changes]}


def raw(content: bytes | str) -> dict[str, Any]:
    """Arguments of a request whose body is as it stands."""
    return {"content": content}


@pytest.mark.parametrize(
    ("request_arguments", "status", "told"),
    [
        (raw(b"{"), 400, "no JSON"),
        (raw(b"not json at all"), 400, "no JSON"),
        (raw(b""), 400, "no JSON"),
        (raw(b"[1, 2]"), 400, "must be a JSON object"),
        (raw(json.dumps(body()).replace("-1.0", "NaN")), 400, "no JSON"),
        (raw(json.dumps(body()).replace("-1.0", "1e999")), 400, ""),
        (raw(json.dumps(body()).replace("-1.0", "null")), 400, "nan at row 0"),
        ({"json": body(data=[1e300] * FEATURES)}, 400, "inf at row 0"),
        ({"json": body(shape=[1, 3], data=[1.0] * 3)}, 400, "wanted is `x` float32 (rows, 16)"),
        ({"json": body(shape=[FEATURES])}, 400, "has shape (16,)"),
        ({"json": body(shape=[0, FEATURES], data=[])}, 400, "at least 1 row"),
        ({"json": body(shape=[1] * 65, data=[1.0])}, 400, "must be a list of sizes"),
        ({"json": body(data=["a"] * FEATURES)}, 400, "takes numbers; got 'a'"),
        ({"json": body(datatype="BYTES", data=["a"] * FEATURES)}, 400, "float32 is wanted"),
        ({"json": body(datatype="FP64", data=[0.1] * FEATURES)}, 400, "float32 is wanted"),
        ({"json": body(name="y")}, 400, "no input `y`"),
        ({"json": {"inputs": []}}, 400, "at least one tensor"),
        ({"json": body(), "headers": {"content-encoding": "gzip"}}, 400, "content-encoding"),
        (
            {"json": body(), "headers": {"inference-header-content-length": "x"}},
            400,
            "must be a number",
        ),
        (
            {"json": body(), "headers": {"inference-header-content-length": "999999"}},
            400,
            "but the body has",
        ),
    ],
)
def test_wrong_calls_get_their_status(
    live: LiveServer, request_arguments: dict[str, Any], status: int, told: str
) -> None:
    """Each mistake is answered as JSON with its status, and the connection can be used again."""
    with live.client() as client:
        reply = client.post(INFER, **request_arguments)
        assert reply.status_code == status, reply.text
        assert told in reply.json()["error"]
        assert client.post(INFER, json=body()).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/nobody/infer", 404),
        ("POST", "/v2/models/nobody/predict", 404),
        ("POST", "/v2/models/nobody/outcomes", 404),
        ("POST", "/v2/models/mlp/versions/none/infer", 404),
        ("POST", "/v2/models//infer", 404),
        ("POST", "/v2/models/infer", 405),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("GET", "/v2/models/mlp/versions/none/ready", 404),
        ("GET", "/nowhere", 404),
        ("GET", INFER, 405),
        ("PUT", INFER, 405),
        ("GET", "/v2/repository/index", 405),
        ("POST", "/metrics", 405),
    ],
)
def test_what_is_not_there(live: LiveServer, method: str, path: str, status: int) -> None:
    """Unknown models, versions, paths and methods are errors of their own, as JSON."""
    with live.client() as client:
        arguments = {"json": body()} if method == "POST" else {}
        reply = client.request(method, path, **arguments)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]
    if status == 405:
        assert reply.headers["allow"]


def test_a_missing_content_type_is_fine(live: LiveServer) -> None:
    """The body is read for what it is."""
    with live.client() as client:
        for headers in ({}, {"content-type": "text/plain"}):
            reply = client.post(INFER, content=json.dumps(body()), headers=headers)
            assert reply.status_code == 200
            assert reply.headers["content-type"] == "application/json"


def test_whole_numbers_are_cast_where_nothing_changes(live: LiveServer) -> None:
    """INT64 values that a float holds exactly are taken; others are refused."""
    with live.client() as client:
        fine = client.post(INFER, json=body(datatype="INT64", data=[3] * FEATURES))
        assert fine.status_code == 200
        refused = client.post(INFER, json=body(datatype="INT64", data=[2**53 + 1] * FEATURES))
        assert refused.status_code == 400


def test_many_callers_get_their_own_answers(live: LiveServer) -> None:
    """Concurrent requests with different rows each get what their rows alone would give."""
    rng = np.random.default_rng(3)
    wanted: dict[int, Any] = {}
    with live.client() as client:
        for seed in range(12):
            rows = rng.normal(size=(seed % 4 + 1, FEATURES)).astype(np.float32)
            tensor = {"name": "x", "datatype": "FP32", "shape": rows.shape}
            tensor["data"] = rows.reshape(-1).tolist()
            told = {"id": str(seed), "inputs": [tensor]}
            wanted[seed] = (told, client.post(INFER, json=told).json()["outputs"][0])

    async def all_at_once() -> list[httpx.Response]:
        import asyncio

        async with httpx.AsyncClient(base_url=live.url) as client:
            posts = [client.post(INFER, json=told) for told, _ in wanted.values()]
            return await asyncio.gather(*posts)

    import asyncio

    for reply in asyncio.run(all_at_once()):
        alone = wanted[int(reply.json()["id"])][1]
        found = reply.json()["outputs"][0]
        assert found["shape"] == alone["shape"]
        np.testing.assert_allclose(found["data"], alone["data"], rtol=1e-5, atol=1e-6)


class TestRequestIds:
    """Ids that come in go out, and those that are missing are made up."""

    def test_a_header_goes_back(self, live: LiveServer) -> None:
        """`x-request-id` comes back as it was, also with an error."""
        with live.client() as client:
            for told, status in ((body(), 200), ({}, 400)):
                reply = client.post(INFER, json=told, headers={"x-request-id": "abc-1"})
                assert reply.status_code == status
                assert reply.headers["x-request-id"] == "abc-1"

    def test_an_id_in_the_body_goes_back_in_both(self, live: LiveServer) -> None:
        """The id of the body is that of the request where no header names one."""
        with live.client() as client:
            reply = client.post(INFER, json={**body(), "id": "from-body"})
        assert reply.json()["id"] == "from-body"
        assert reply.headers["x-request-id"] == "from-body"

    def test_one_is_made_up(self, live: LiveServer) -> None:
        """No two requests without an id get the same one; the body then names none."""
        with live.client() as client:
            replies = [client.post(INFER, json=body()) for _ in range(3)]
            replies.append(client.get("/v2"))
        assert len({reply.headers["x-request-id"] for reply in replies}) == 4
        assert "id" not in replies[0].json()

    @pytest.mark.parametrize("sent", ["a b", "x" * 129, "\u00e9"])
    def test_what_can_not_stand_in_a_log_is_replaced(self, live: LiveServer, sent: str) -> None:
        """An id that is too long or not printable ASCII is answered with one made up."""
        with live.client() as client:
            headers = {"x-request-id": sent.encode("latin-1")}
            reply = client.post(INFER, json=body(), headers=headers)
        assert reply.status_code == 200
        assert reply.headers["x-request-id"] not in ("", sent)

    def test_an_id_with_a_line_break_splits_no_header(self, live: LiveServer) -> None:
        """Whatever stands in the body's id, the answer's headers stay whole."""
        with live.client() as client:
            reply = client.post(INFER, json={**body(), "id": "a\r\nset-cookie: b=c"})
        assert reply.status_code == 200
        assert reply.json()["id"] == "a\r\nset-cookie: b=c"
        assert "set-cookie" not in reply.headers


DEEP = "[" * 1000 + "]" * 1000
"""Nested as deep as the reader of JSON takes it, deeper than Python compares or shows."""


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ('"data": [', 400),
        ('"datatype": ', 400),
        ('"name": ', 400),
        ('"shape": ', 400),
        ('"parameters": {"binary_data_size": ', 400),
        ('"priority": ', 400),
        ('"binary_data_output": ', 400),
        ('"unknown": ', 200),
    ],
)
def test_json_may_be_nested_deep(live: LiveServer, place: str, status: int) -> None:
    """Whatever lies that deep is refused, or passed over, as if it were not deep."""
    tensor = body()["inputs"][0]
    told = json.dumps({"inputs": [tensor], "parameters": {"mark": 0}})
    if place.startswith('"data"'):
        told = json.dumps({"inputs": [tensor | {"data": ["HERE"], "shape": [1]}]})
        told = told.replace('"HERE"', DEEP)
    elif place.startswith('"parameters"'):
        told = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": "HERE"}}]})
        told = told.replace('"HERE"', DEEP)
    elif place in ('"priority": ', '"binary_data_output": ', '"unknown": '):
        told = told.replace('"mark": 0', place + DEEP)
    else:
        name = place.strip('": ')
        told = json.dumps({"inputs": [tensor | {name: "HERE"}]}).replace('"HERE"', DEEP)
    with live.client() as client:
        reply = client.post(INFER, content=told)
    assert reply.status_code == status, reply.text
