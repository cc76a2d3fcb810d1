"""One live server with gRPC for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.serving.sources import ServedSource
from tests.serving_echo import make_echo_bundle
from tests.serving_live import LiveServer

KEY = "a-key-of-some-length"


@pytest.fixture(scope="session")
def grpc_live(
    bundle: Path, text_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """Serves `mlp` (a queue of four rows), `text` and `echo`; asks for a key."""
    echo = make_echo_bundle(tmp_path_factory.mktemp("echo") / "release")
    sources = (
        ServedSource("mlp", bundle),
        ServedSource("text", text_bundle),
        ServedSource("echo", echo),
    )
    settings = {
        "key": KEY,
        "max_batch_rows": 4,
        "max_queue_bytes": 1,
        "max_body_bytes": 1_000_000,
        "deadline_seconds": 20.0,
    }
    with LiveServer(sources, grpc=True, **settings) as server:
        yield server
