"""Rows and a model's description that the tests of data loading share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jettison.domain.configuration import DataSection
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.splits import Splits
from jettison.errors import DataError
from jettison.pipeline.split import load_data

N = 300


def model(
    *,
    width: int = 2,
    classes: int = 2,
    labels: tuple[str, ...] = ("no", "yes"),
    task: str = "classification",
) -> Model:
    """A description of a model that takes `x` (n, width); nothing here runs it."""
    return Model(
        Artifact("onnx_file", "/nowhere", ("m.onnx",), "digest", 1),
        frozenset({"onnx"}),
        (TensorSpec("x", "float32", ("n", width)),),
        (TensorSpec("scores", "float32", ("n", classes)),),
        "scores",
        task,
        Encoder.of("arrays", {}, labels=labels),
    )


def text_model(folder: Path, longest: int) -> Model:
    """A description of a text model; `tokenizer.json` lies in the folder."""
    settings = {"max_length": longest, "pad_id": 0}
    return Model(
        Artifact("onnx_file", "/nowhere", ("m.onnx",), "digest", 1),
        frozenset({"onnx"}),
        (TensorSpec("input_ids", "int64", ("n", "tokens")),),
        (TensorSpec("scores", "float32", ("n", 2)),),
        "scores",
        "classification",
        Encoder.of(
            "tokenizer", settings, folder=folder, files=("tokenizer.json",), labels=("no", "yes")
        ),
    )


def table(n: int = N, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=n).astype(np.float32),
        "b": rng.normal(size=n).astype(np.float32),
        "y": rng.choice(["no", "yes"], n),
        "sex": rng.choice(["f", "m"], n),
        "author": rng.integers(0, 80, n),
        "w": rng.uniform(0.5, 2, n),
    }


SECTION = DataSection(
    inputs=("a", "b"), target="y", groups=("sex",), unit="author", weight="w", seed=3
)


def load(
    given: Any, folder: Path, section: DataSection = SECTION, like: Model | None = None
) -> Splits:
    return load_data(section, like or model(), folder, {"source": given})


def sealed(folder: Path, name: str = "x") -> Any:
    return np.load(folder / "sealed" / "rows" / f"{name}.npy")


def refused(
    given: Any, folder: Path, section: DataSection = SECTION, like: Model | None = None
) -> str:
    with pytest.raises(DataError) as caught:
        load(given, folder, section, like)
    return str(caught.value)
