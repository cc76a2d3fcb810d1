"""The public gRPC client of the protocol, as an independent judge."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from jettison.serving.rpc import service
from tests.serving_bundle import FEATURES
from tests.serving_echo import DATATYPES, WIDTH, some_rows
from tests.serving_live import LiveServer
from tests.unit.serving.rpc.conftest import KEY

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    triton = pytest.importorskip("tritonclient.grpc")
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import InferenceServerException

HEADERS = {"authorization": f"Bearer {KEY}"}
ROWS = np.random.default_rng(5).normal(size=(3, FEATURES)).astype(np.float32)


@pytest.fixture
def client(grpc_live: LiveServer) -> Iterator[Any]:
    """A client of the live server."""
    with triton.InferenceServerClient(f"127.0.0.1:{grpc_live.grpc_port}") as client:
        yield client


def tensor(rows: np.ndarray = ROWS) -> Any:
    """The input of the model."""
    made = triton.InferInput("x", list(rows.shape), "FP32")
    made.set_data_from_numpy(rows)
    return made


def refused(function: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[str, str]:
    """Status and message of a call that is refused."""
    with pytest.raises(InferenceServerException) as caught:
        function(*arguments, **named)
    return str(caught.value.status()), str(caught.value.message())


def until(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def test_health_needs_no_key(client: Any) -> None:
    """Live and ready are for probes; everything else asks for the key."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mlp", headers=HEADERS)
    status, told = refused(client.is_model_ready, "mlp")
    assert status == "StatusCode.UNAUTHENTICATED"
    assert "Bearer" in told


def test_metadata(client: Any) -> None:
    """Server and model tell what they are."""
    server = client.get_server_metadata(headers=HEADERS)
    assert server.name == "jettison"
    told = client.get_model_metadata("mlp", headers=HEADERS, as_json=True)
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", str(FEATURES)]}]
    (version,) = told["versions"]
    assert client.get_model_metadata("mlp", version, headers=HEADERS).name == "mlp"


def test_infer(client: Any, bundle: Path) -> None:
    """Tensors in, the model's own answer out; id, version and chosen outputs are kept."""
    session = onnxruntime.InferenceSession(str(bundle / "model" / "model.onnx"))
    expected = session.run(["scores"], {"x": ROWS})[0]
    wanted = [triton.InferRequestedOutput("scores")]
    result = client.infer("mlp", [tensor()], outputs=wanted, request_id="9", headers=HEADERS)
    np.testing.assert_allclose(result.as_numpy("scores"), expected, rtol=1e-5, atol=1e-6)
    response = result.get_response()
    assert response.id == "9"
    assert len(response.raw_output_contents) == 1
    again = client.infer(
        "mlp", [tensor()], model_version=response.model_version, headers=HEADERS, priority=1
    )
    np.testing.assert_array_equal(again.as_numpy("scores"), result.as_numpy("scores"))


def test_every_data_type_comes_back(client: Any) -> None:
    """Each type goes in and comes out unchanged, at the edges of its range."""
    arrays = some_rows(4)
    inputs = []
    for name, array in arrays.items():
        made = triton.InferInput(f"in_{name}", [4, WIDTH], DATATYPES[name])
        made.set_data_from_numpy(array)
        inputs.append(made)
    result = client.infer("echo", inputs, headers=HEADERS)
    for name, array in arrays.items():
        found = result.as_numpy(f"out_{name}")
        if name == "str":
            texts = [value.decode() for value in found.reshape(-1)]
            assert texts == array.reshape(-1).tolist()
        else:
            assert found.tobytes() == array.tobytes(), name


def typed_request() -> Any:
    """A message of the client's own classes, with typed contents."""
    request = service_pb2.ModelInferRequest(model_name="mlp", id="typed")
    entry = request.inputs.add(name="x", datatype="FP32", shape=ROWS.shape)
    entry.contents.fp32_contents.extend(ROWS.reshape(-1).tolist())
    return request


def call(client: Any, request: Any) -> Any:
    """Sends a message as it stands."""
    metadata = tuple((name, value) for name, value in HEADERS.items())
    return client._client_stub.ModelInfer(request, metadata=metadata)


def test_typed_contents_are_taken(client: Any) -> None:
    """The values may stand in the typed fields; the answer comes raw."""
    response = call(client, typed_request())
    raw = client.infer("mlp", [tensor()], headers=HEADERS)
    found = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(3, -1)
    np.testing.assert_array_equal(found, raw.as_numpy("scores"))
    assert response.id == "typed"


def both_ways(request: Any) -> None:
    """Raw beside typed contents."""
    request.raw_input_contents.append(ROWS.tobytes())


def too_many_raw(request: Any) -> None:
    """More raw entries than inputs."""
    request.inputs[0].ClearField("contents")
    request.raw_input_contents.extend([ROWS.tobytes(), b""])


def short_raw(request: Any) -> None:
    """Too few raw bytes."""
    request.inputs[0].ClearField("contents")
    request.raw_input_contents.append(ROWS.tobytes()[:-1])


def half_in_typed(request: Any) -> None:
    """FP16 has no typed field."""
    request.inputs[0].datatype = "FP16"


def not_a_number(request: Any) -> None:
    """NaN among the values."""
    request.inputs[0].contents.fp32_contents[0] = float("nan")


def nothing(request: Any) -> None:
    """No inputs."""
    request.ClearField("inputs")


def negative_shape(request: Any) -> None:
    """A size below zero."""
    request.inputs[0].shape[0] = -1


def too_many_sizes(request: Any) -> None:
    """More dimensions than an array can have."""
    request.inputs[0].shape[:] = [1] * 65
    request.inputs[0].contents.fp32_contents[:] = [1.0]


def unknown_type(request: Any) -> None:
    """A data type that is none."""
    request.inputs[0].datatype = "FP99"


def unknown_input(request: Any) -> None:
    """An input that the model has not."""
    request.inputs[0].name = "w"


def unknown_output(request: Any) -> None:
    """An output that the model has not."""
    request.outputs.add(name="q")


def shared_memory(request: Any) -> None:
    """A region of shared memory."""
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"


def wrong_priority(request: Any) -> None:
    """A priority that is a text."""
    request.parameters["priority"].string_param = "high"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (both_ways, "beside `raw_input_contents`"),
        (too_many_raw, "2 entries for 1 inputs"),
        (short_raw, "takes 192 bytes; got 191"),
        (half_in_typed, "comes in `raw_input_contents` only"),
        (not_a_number, "nan at row 0"),
        (nothing, "at least one tensor"),
        (negative_shape, "no shape [-1, 16]"),
        (too_many_sizes, "no shape [1, 1, 1, 1, 1, 1, ...]"),
        (unknown_type, "no datatype `FP99`"),
        (unknown_input, "no input `w`"),
        (unknown_output, "no output `q`"),
        (shared_memory, "no shared memory"),
        (wrong_priority, "must be a whole number"),
    ],
)
def test_wrong_messages_are_refused(client: Any, spoil: Callable[[Any], None], told: str) -> None:
    """Each mistake is INVALID_ARGUMENT and says what is allowed."""
    import grpc

    request = typed_request()
    spoil(request)
    with pytest.raises(grpc.RpcError) as caught:
        call(client, request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert told in caught.value.details()


def test_statuses(client: Any) -> None:
    """Unknown model, unknown version, wrong key, a message that is too large."""
    infer = client.infer
    assert refused(infer, "nobody", [tensor()], headers=HEADERS)[0] == "StatusCode.NOT_FOUND"
    status = refused(infer, "mlp", [tensor()], model_version="none", headers=HEADERS)[0]
    assert status == "StatusCode.NOT_FOUND"
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": KEY + "x"}):
        status = refused(infer, "mlp", [tensor()], headers=headers)[0]
        assert status == "StatusCode.UNAUTHENTICATED"
    large = np.zeros((20_000, FEATURES), dtype=np.float32)
    status = refused(infer, "mlp", [tensor(large)], headers=HEADERS)[0]
    assert status == "StatusCode.RESOURCE_EXHAUSTED"
    assert infer("mlp", [tensor()], headers={"x-api-key": KEY}).as_numpy("scores").shape == (3, 4)


def test_repository(client: Any) -> None:
    """Index, unload and load; changes need the key."""
    index = client.get_model_repository_index(headers=HEADERS, as_json=True)
    assert {entry["name"] for entry in index["models"]} == {"mlp", "text", "echo"}
    assert refused(client.unload_model, "text")[0] == "StatusCode.UNAUTHENTICATED"
    client.unload_model("text", headers=HEADERS)
    status, _ = refused(client.is_model_ready, "text", headers=HEADERS)
    assert status == "StatusCode.NOT_FOUND"
    client.load_model("text", headers=HEADERS)
    assert client.is_model_ready("text", headers=HEADERS)
    status, told = refused(client.load_model, "text", headers=HEADERS, config="{}")
    assert (status, "`config`" in told) == ("StatusCode.INVALID_ARGUMENT", True)


def test_a_deadline_ends_the_wait(client: Any, grpc_live: LiveServer) -> None:
    """The client's own timeout, and the parameter in microseconds, both end as such."""
    with grpc_live.still("mlp"):
        status, _ = refused(client.infer, "mlp", [tensor()], headers=HEADERS, timeout=50_000)
        assert status == "StatusCode.DEADLINE_EXCEEDED"
        status, _ = refused(client.infer, "mlp", [tensor()], headers=HEADERS, client_timeout=0.05)
        assert status == "StatusCode.DEADLINE_EXCEEDED"
    until(lambda: grpc_live.watch_in_flight() == 0)


def test_rows_of_a_cancelled_call_are_dropped(client: Any, grpc_live: LiveServer) -> None:
    """A call that its client cancels takes its waiting rows along."""
    ended = threading.Event()
    with grpc_live.still("mlp"):
        # What comes first goes to the engine's thread, the next waits in the queue.
        first = client.async_infer("mlp", [tensor(ROWS[:1])], _ignore, headers=HEADERS)
        until(lambda: grpc_live.watch_in_flight() == 1)
        second = client.async_infer(
            "mlp", [tensor()], lambda result, error: ended.set(), headers=HEADERS
        )
        until(lambda: grpc_live.waiting_rows("mlp") == 3)
        second.cancel()
        until(lambda: grpc_live.waiting_rows("mlp") == 0)
        assert ended.wait(20)
        first.cancel()
    until(lambda: grpc_live.watch_in_flight() == 0)


def test_a_full_queue_is_exhausted(client: Any, grpc_live: LiveServer) -> None:
    """With the queue full a call is refused at once, and told when to come back."""
    import grpc

    with grpc_live.still("mlp"):
        first = client.async_infer("mlp", [tensor(ROWS[:1])], _ignore, headers=HEADERS)
        until(lambda: grpc_live.watch_in_flight() == 1)
        second = client.async_infer("mlp", [tensor()], _ignore, headers=HEADERS)
        until(lambda: grpc_live.waiting_rows("mlp") == 3)
        with pytest.raises(grpc.RpcError) as caught:
            call(client, typed_request())
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(caught.value.trailing_metadata())["retry-after"]) >= 1
        for waiting in (first, second):
            waiting.cancel()
    until(lambda: grpc_live.watch_in_flight() == 0)


def _ignore(result: Any, error: Any) -> None:
    """A callback that wants nothing."""


def test_request_ids(client: Any) -> None:
    """`x-request-id` comes back in the trailing metadata; without one, an id is made up."""
    stub = client._client_stub.ModelInfer
    key = ("authorization", f"Bearer {KEY}")
    request = typed_request()
    _, told = stub.with_call(request, metadata=(key, ("x-request-id", "abc-1")))
    assert dict(told.trailing_metadata())["x-request-id"] == "abc-1"
    _, told = stub.with_call(request, metadata=(key,))
    assert dict(told.trailing_metadata())["x-request-id"] == "typed"
    request.id = ""
    _, told = stub.with_call(request, metadata=(key,))
    assert dict(told.trailing_metadata())["x-request-id"]


def test_long_typed_contents_are_read_on_a_thread(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As raw ones are: nobody else waits until each number was looked at."""
    threads: list[str] = []
    read = service.read_call

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return read(*arguments)

    monkeypatch.setattr(service, "read_call", noted)
    for rows in (3, 6000):
        request = typed_request()
        request.inputs[0].shape[0] = rows
        request.inputs[0].contents.fp32_contents[:] = [0.5] * (rows * FEATURES)
        with contextlib.suppress(Exception):  # 6,000 rows are more than may wait
            call(client, request)
    assert [name == "live-server" for name in threads] == [True, False]
