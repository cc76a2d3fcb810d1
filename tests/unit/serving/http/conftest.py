"""One live server for the tests of this folder that don't change it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving_live import LiveServer
from tests.serving_echo import make_echo_bundle
from jettison.serving.sources import ServedSource


@pytest.fixture(scope="session")
def echo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that gives back what it gets, in every data type."""
    return make_echo_bundle(tmp_path_factory.mktemp("echo") / "release")


@pytest.fixture(scope="session")
def live(bundle: Path, text_bundle: Path, echo_bundle: Path) -> Iterator[LiveServer]:
    """Serves `mlp`, `text` and `echo` over HTTP, without a key."""
    sources = (
        ServedSource("mlp", bundle),
        ServedSource("text", text_bundle),
        ServedSource("echo", echo_bundle),
    )
    with LiveServer(sources, max_batch_rows=8, max_body_bytes=1_000_000) as server:
        yield server
