"""Bundles that all tests of the server share; a test that changes one copies it first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving_bundle import Made, make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certified network that batches well."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "release")


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with other weights: another version with other answers."""
    return make_bundle(tmp_path_factory.mktemp("other") / "release", Made(seed=1))


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certified text model with its tokenizer."""
    return make_bundle(tmp_path_factory.mktemp("text") / "release", Made(kind="text"))


@pytest.fixture(scope="session")
def dynamic_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose rows heed their neighbours, certified as if they did not."""
    return make_bundle(tmp_path_factory.mktemp("dynamic") / "release", Made(kind="dynamic"))


@pytest.fixture(scope="session")
def paired_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose original can be loaded again."""
    return make_bundle(tmp_path_factory.mktemp("paired") / "release", Made(seed=2, loaded=True))
