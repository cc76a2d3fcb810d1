"""Served versions that are described only: nothing runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jettison.domain.certificate import Certificate, Subject
from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.recipe import Step
from jettison.serving.batcher import BatchPolicy
from jettison.serving.observability import Observability
from jettison.serving.versions import ServedVersion

Describe = Callable[..., ServedVersion]


def describe_version(
    name: str = "magika", digest: str = "a1" * 32, label: str = "certified"
) -> ServedVersion:
    """A served version as the repository makes it, without an engine."""
    subject = Subject("", "", "", "onnx_runtime", 1, 8, "any batch size", "x86_64-avx2")
    model = Model(
        artifact=Artifact("onnx_file", "/nowhere", ("model.onnx",), "d" * 64, 1),
        traits=frozenset({"onnx"}),
        inputs=(TensorSpec("x", "float32", ("batch", 2)),),
        outputs=(TensorSpec("scores", "float32", ("batch", 2)),),
        prediction="scores",
        task="classification",
        encoder=Encoder("arrays", {"columns": ["x"]}, labels=("cat", "dog")),
    )
    return ServedVersion(
        name=name,
        version=digest[:12],
        folder="/nowhere",
        digest=digest,
        model=model,
        runtime=Step("onnx_runtime"),
        serving=ServingProfile(),
        certificate=Certificate(
            "certified" if label == "certified" else "uncertified",
            "",
            (),
            "",
            subject,
            (),
            "",
            "",
            "",
            None,
        ),
        card="# A card",
        pad={},
        engine=None,  # type: ignore[arg-type]
        batcher=None,  # type: ignore[arg-type]
        policy=BatchPolicy(8, 64),
        seconds_by_rows={},
        label=label,
        notes=(),
    )


@pytest.fixture(name="describe_version", scope="session")
def describe_version_fixture() -> Describe:
    """`describe_version`, for tests that can't import this file."""
    return describe_version


@pytest.fixture
def served() -> ServedVersion:
    """One certified version."""
    return describe_version()


@pytest.fixture
def watch(served: ServedVersion) -> Observability:
    """Watches one certified version."""
    watching = Observability()
    watching.batches(served.name, served.version)
    watching.loaded(served)
    return watching
