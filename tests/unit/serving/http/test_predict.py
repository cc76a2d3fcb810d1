"""Rows as their owner has them, through the encoder of the bundle."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.extension_points import Encoded, Example
from jettison.domain.model import Model
from jettison.serving.http import predictions
from jettison.serving.sources import ServedSource
from tests.serving_bundle import FEATURES, LABELS, Made, make_bundle
from tests.serving_engines import make_tagger
from tests.serving_live import LiveServer

TEXT = "/v2/models/text/predict"
MLP = "/v2/models/mlp/predict"


def test_texts_get_labels_and_scores(live: LiveServer) -> None:
    """A text as it is, or as a record; the label has the highest score, and all are shown."""
    with live.client() as client:
        plain = client.post(TEXT, json={"rows": ["a good film", "the dull plot"], "id": "t1"})
        records = client.post(
            TEXT, json={"rows": [{"text": "a good film"}, {"text": "the dull plot"}]}
        )
    assert plain.status_code == 200, plain.text
    told = plain.json()
    assert told["id"] == "t1"
    assert told["certificate"] == "certified"
    assert told["predictions"] == records.json()["predictions"]
    for prediction in told["predictions"]:
        assert set(prediction["scores"]) == {"bad", "good"}
        best = max(prediction["scores"], key=prediction["scores"].get)
        assert (prediction["label"], prediction["score"]) == (best, prediction["scores"][best])


def test_predictions_are_those_of_infer(live: LiveServer) -> None:
    """The same row as a tensor and as a row gives the same scores."""
    row = np.linspace(-1, 1, FEATURES).astype(np.float32).tolist()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, FEATURES], "data": row}
    with live.client() as client:
        scores = client.post("/v2/models/mlp/infer", json={"inputs": [tensor]}).json()
        for rows in ([row], [{"x": row}]):
            reply = client.post(MLP, json={"rows": rows})
            assert reply.status_code == 200, reply.text
            (prediction,) = reply.json()["predictions"]
            assert list(prediction["scores"]) == list(LABELS)
            np.testing.assert_allclose(
                list(prediction["scores"].values()), scores["outputs"][0]["data"], rtol=1e-6
            )


@pytest.mark.parametrize(
    ("path", "told", "what"),
    [
        (TEXT, {}, "needs `rows`"),
        (TEXT, {"rows": []}, "needs `rows`"),
        (TEXT, {"rows": "a text"}, "needs `rows`"),
        (TEXT, {"rows": [1]}, "must be text"),
        (TEXT, {"rows": [None]}, "must be text"),
        (TEXT, {"rows": [{"words": "a"}]}, "row 0 has no `text`"),
        (TEXT, {"rows": [{"text": "a"}, "b"]}, "row 1 has no `text`"),
        (TEXT, {"rows": ["a", 1]}, "mixes numbers, texts"),
        (TEXT, {"rows": [["a"]]}, "lists of something but numbers"),
        (TEXT, {"rows": ["a"], "parameters": 1}, "`parameters` must be an object"),
        (TEXT, {"rows": ["a"], "id": 1}, "`id` must be a text"),
        (MLP, {"rows": [[1.0, 2.0]]}, "(1, 2)"),
        (MLP, {"rows": [[1.0] * FEATURES, [1.0] * 3]}, "different shapes"),
        (MLP, {"rows": [[None] * FEATURES]}, "nan at row 0"),
        (MLP, {"rows": [[[1.0, 2.0], [1.0]]]}, "different lengths within one row"),
        (MLP, {"rows": [[[[[[[[[[1.0]]]]]]]]]]}, "nested deeper"),
    ],
)
def test_wrong_rows_are_refused(
    live: LiveServer, path: str, told: dict[str, Any], what: str
) -> None:
    """Each mistake is a 400 that says which row or column, and what is allowed."""
    with live.client() as client:
        reply = client.post(path, json=told)
    assert reply.status_code == 400, reply.text
    assert what in reply.json()["error"]


def test_more_rows_than_may_wait_are_too_large(live: LiveServer) -> None:
    """A request that could never be queued is refused before it is encoded."""
    most = live.call(live.repository.get, "text").policy.max_queue_rows
    with live.client() as client:
        reply = client.post(TEXT, json={"rows": ["a"] * (most + 1)})
    assert reply.status_code == 413


def test_the_loop_is_free_while_texts_are_encoded(live: LiveServer) -> None:
    """Encoding runs on threads of its own, never on the event loop."""
    from jettison.encoders.tokenizer import TokenizerEncoder

    names: list[str] = []
    original = TokenizerEncoder.encode

    def spying(self: Any, *arguments: Any) -> Any:
        names.append(threading.current_thread().name)
        return original(self, *arguments)

    TokenizerEncoder.encode = spying  # type: ignore[method-assign]
    try:
        with live.client() as client:
            assert client.post(TEXT, json={"rows": ["a good film"]}).status_code == 200
    finally:
        TokenizerEncoder.encode = original  # type: ignore[method-assign]
    assert [name.startswith("jettison-encoder") for name in names] == [True]


def test_a_version_keeps_the_tokenizer_that_it_was_loaded_with(
    text_bundle: Path, tmp_path: Path
) -> None:
    """Another bundle may take the folder; what is served goes on reading texts as certified."""
    folder = tmp_path / "release"
    shutil.copytree(text_bundle, folder)
    told = {"rows": ["a good film"]}
    with LiveServer([ServedSource("text", folder)], max_batch_rows=4) as server:
        (folder / "encoder" / "tokenizer.json").write_text("another one", encoding="utf-8")
        with server.client() as client:
            reply = client.post(TEXT, json=told)
    assert reply.status_code == 200, reply.text
    assert reply.json()["predictions"][0]["label"] in ("bad", "good")


def test_whoever_answers_also_encodes_and_vouches(
    text_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a canary, encoder, class names and certificate are those of the version that answered."""
    canary = make_bundle(tmp_path / "canary", Made(kind="text", seed=3, certified=False))
    source = ServedSource("text", text_bundle, canary=str(canary), canary_weight=0.5)
    encoded: list[str] = []
    encode = predictions.encode

    def noted(model: Model, examples: Example) -> Encoded:
        encoded.append(str(Path(model.artifact.folder).parent))
        return encode(model, examples)

    monkeypatch.setattr(predictions, "encode", noted)
    with LiveServer([source], max_batch_rows=4, allow_uncertified=True) as server:
        versions = {one.version: one for one in server.call(server.repository.versions, "text")}
        with server.client() as client:
            for _ in range(40):
                told = client.post(TEXT, json={"rows": ["a good film"]}).json()
                answered = versions[told["model_version"]]
                assert told["certificate"] == answered.label
                assert encoded[-1] == answered.folder
    assert len(set(encoded)) == 2


def test_rows_are_encoded_anew_where_a_swap_came_between(
    text_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that went while its rows were encoded leaves them to the one that took its place."""
    other = make_bundle(tmp_path / "other", Made(kind="text", seed=3))
    encoded: list[str] = []
    encode = predictions.encode
    with LiveServer([ServedSource("text", text_bundle)], max_batch_rows=4) as server:

        def swapping(model: Model, examples: Example) -> Encoded:
            encoded.append(model.artifact.digest)
            if len(encoded) == 1:
                server.call(server.repository.load, "text", other)
            return encode(model, examples)

        monkeypatch.setattr(predictions, "encode", swapping)
        with server.client() as client:
            reply = client.post(TEXT, json={"rows": ["a good film"]})
        served = server.call(server.repository.get, "text")
    assert reply.status_code == 200, reply.text
    assert reply.json()["model_version"] == served.version
    assert encoded[-1] == served.model.artifact.digest
    assert len(encoded) == 2


def test_nothing_is_left_of_the_threads_that_encode(text_bundle: Path) -> None:
    """A server that ends need not wait for threads that wait for rows."""
    before = set(threading.enumerate())
    with LiveServer([ServedSource("text", text_bundle)], max_batch_rows=4) as server:
        with server.client() as client:
            assert client.post(TEXT, json={"rows": ["a good film"]}).status_code == 200
        encoders = [
            one
            for one in set(threading.enumerate()) - before
            if one.name.startswith("jettison-encoder")
        ]
    server.app.close()
    assert encoders
    for thread in encoders:
        thread.join(30)
        assert not thread.is_alive()


def test_long_bodies_of_rows_are_read_on_a_thread(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading half a megabyte of rows keeps nobody else waiting."""
    threads: list[str] = []
    read = predictions.Predictor.read

    def noted(self: Any, *arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return read(self, *arguments)

    monkeypatch.setattr(predictions.Predictor, "read", noted)
    with live.client() as client:
        for text in ("a film", "a film " * 80_000):
            assert client.post(TEXT, json={"rows": [text]}).status_code == 200
    assert [name == "live-server" for name in threads] == [True, False]


def test_what_is_said_about_padding_is_left_out(tmp_path: Path) -> None:
    """Rows of one request differ in length: an output for each token ends with the row's own."""
    tagger = make_tagger(tmp_path)
    model = replace(tagger, prediction="tags", task="token-classification")
    tags = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    lengths = {"tokens": np.array([1, 4])}
    short, long = predictions.predictions(model, tags, lengths)
    assert short == {"output": tags[0, :1].tolist()}
    assert long == {"output": tags[1].tolist()}
    whole = predictions.predictions(model, tags, {})
    assert whole == [{"output": row.tolist()} for row in tags]
    # An output that is not as long as its row is left as it is.
    vectors = predictions.predictions(replace(tagger, task="embedding"), tags[:, 0, :2], lengths)
    assert vectors == [{"output": [0.0, 1.0]}, {"output": [12.0, 13.0]}]
