"""The public client of the protocol, as an independent judge."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.serving_bundle import FEATURES
from tests.serving_echo import DATATYPES, WIDTH, some_rows
from tests.serving_live import LiveServer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of gevent and geventhttpclient, on import
    triton = pytest.importorskip("tritonclient.http")
    from tritonclient.utils import InferenceServerException


@pytest.fixture
def client(live: LiveServer) -> Iterator[Any]:
    """A client of the live server."""
    with triton.InferenceServerClient(live.host) as client:
        yield client


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Five rows."""
    return np.random.default_rng(5).normal(size=(5, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(bundle: Path, rows: np.ndarray) -> np.ndarray:
    """What the model says when nobody is between."""
    session = onnxruntime.InferenceSession(str(bundle / "model" / "model.onnx"))
    return np.asarray(session.run(["scores"], {"x": rows})[0])


def tensor(rows: np.ndarray, *, binary: bool) -> Any:
    """The input of the model."""
    made = triton.InferInput("x", list(rows.shape), "FP32")
    made.set_data_from_numpy(rows, binary_data=binary)
    return made


def test_it_is_live_and_ready(client: Any) -> None:
    """Health of the server and of a model, known and unknown."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mlp")
    assert not client.is_model_ready("nobody")


def test_the_server_tells_its_extensions(client: Any) -> None:
    """Name, version and the extensions that are there."""
    told = client.get_server_metadata()
    assert told["name"] == "jettison"
    assert {"binary_tensor_data", "model_repository", "schedule_policy"} <= set(told["extensions"])


def test_the_model_tells_its_tensors(client: Any, live: LiveServer) -> None:
    """True names, data types and shapes; the version has its own address."""
    told = client.get_model_metadata("mlp")
    (version,) = told["versions"]
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, FEATURES]}]
    assert told["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 4]}]
    assert told["properties"]["certificate"] == "certified"
    assert client.get_model_metadata("mlp", version) == told
    text = client.get_model_metadata("text")
    assert [entry["shape"] for entry in text["inputs"]] == [[-1, -1], [-1, -1]]
    echo = client.get_model_metadata("echo")
    assert [entry["datatype"] for entry in echo["inputs"]] == list(DATATYPES.values())


@pytest.mark.parametrize("binary_in", [False, True], ids=["json-in", "binary-in"])
@pytest.mark.parametrize("binary_out", [False, True], ids=["json-out", "binary-out"])
def test_all_four_mixes(
    client: Any, rows: np.ndarray, expected: np.ndarray, binary_in: bool, binary_out: bool
) -> None:
    """JSON and raw tensors, in and out, give the model's own answer."""
    wanted = [triton.InferRequestedOutput("scores", binary_data=binary_out)]
    result = client.infer("mlp", [tensor(rows, binary=binary_in)], outputs=wanted, request_id="7")
    np.testing.assert_allclose(result.as_numpy("scores"), expected, rtol=1e-5, atol=1e-6)
    assert result.get_response()["id"] == "7"
    assert result.get_response()["model_name"] == "mlp"


def test_all_outputs_come_raw_by_default(
    client: Any, rows: np.ndarray, expected: np.ndarray
) -> None:
    """Without a choice of outputs the client asks for all of them, raw."""
    result = client.infer("mlp", [tensor(rows, binary=True)])
    np.testing.assert_allclose(result.as_numpy("scores"), expected, rtol=1e-5, atol=1e-6)


def test_a_version_is_named(client: Any, rows: np.ndarray) -> None:
    """The version of the metadata answers under its own address; another is unknown."""
    (version,) = client.get_model_metadata("mlp")["versions"]
    result = client.infer("mlp", [tensor(rows, binary=True)], model_version=version)
    assert result.get_response()["model_version"] == version
    with pytest.raises(InferenceServerException, match="has no version `none`") as caught:
        client.infer("mlp", [tensor(rows, binary=True)], model_version="none")
    assert caught.value.status() == "404"


@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_every_data_type_comes_back(client: Any, binary: bool) -> None:
    """Each type goes in and comes out unchanged, at the edges of its range."""
    arrays = some_rows(4)
    inputs, outputs = [], []
    for name, array in arrays.items():
        made = triton.InferInput(f"in_{name}", [4, WIDTH], DATATYPES[name])
        made.set_data_from_numpy(array, binary_data=binary)
        inputs.append(made)
        outputs.append(triton.InferRequestedOutput(f"out_{name}", binary_data=binary))
    result = client.infer("echo", inputs, outputs=outputs)
    for name, array in arrays.items():
        found = result.as_numpy(f"out_{name}")
        if name == "str":
            texts = [v.decode() if isinstance(v, bytes) else v for v in found.reshape(-1)]
            assert texts == array.reshape(-1).tolist()
        else:
            assert found.tobytes() == array.tobytes(), name


def test_priority_and_timeout_are_taken(client: Any, rows: np.ndarray) -> None:
    """The parameters of the schedule policy extension; a timeout is in microseconds."""
    result = client.infer("mlp", [tensor(rows, binary=True)], priority=1, timeout=2_000_000)
    assert result.as_numpy("scores").shape == (5, 4)


def test_errors_reach_the_client(client: Any, rows: np.ndarray) -> None:
    """The client reads status and message of an error."""
    wrong = triton.InferInput("x", [5, 3], "FP32")
    wrong.set_data_from_numpy(rows[:, :3].copy())
    with pytest.raises(InferenceServerException, match="has shape") as caught:
        client.infer("mlp", [wrong])
    assert caught.value.status() == "400"


def test_the_repository_is_listed(client: Any) -> None:
    """Every name with its version and state."""
    told = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert set(told) == {"mlp", "text", "echo"}
    assert {entry["state"] for entry in told.values()} == {"READY"}
    assert told["mlp"]["version"] == client.get_model_metadata("mlp")["versions"][0]


def test_nothing_is_loaded_without_a_key(client: Any) -> None:
    """A server without a key lets nobody change what it serves."""
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="no key") as caught:
            change("mlp")
        assert caught.value.status() == "401"
