"""Rows unlike the data are refused, rows like it pass, and a file for another model is no use."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import ConfigError
from jettison.guardrails.out_of_distribution import OutOfDistribution
from jettison.numerics.novelty import certified_threshold, fit_novelty, save_novelty
from jettison.testing import contracts

RNG = np.random.default_rng(5)
MODEL = Model(
    Artifact("onnx_file", "/m", ("model.onnx",), "0" * 64, 1),
    frozenset({"onnx"}),
    (TensorSpec("x", "float32", ("batch", 4)),),
    (TensorSpec("scores", "float32", ("batch", 2)),),
    "scores",
    "classification",
    Encoder("arrays", digest="e" * 64),
)


def rows(n: int) -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    return {"x": RNG.normal(size=(n, 4)).astype(np.float32)}


@pytest.fixture
def fitted(tmp_path: Path) -> str:
    """A limit that refuses at most 5 % of normal rows."""
    found = fit_novelty([rows(300)], 0)
    limit = certified_threshold(found.score(rows(500)), 0.05, 0.95)
    path = tmp_path / "novelty.npz"
    known = dataclasses.replace(found, threshold=limit, rate=0.05, confidence=0.95, n=500)
    save_novelty(known, path, {"encoder": MODEL.encoder.digest})
    return str(path)


def test_contract(fitted: str) -> None:
    """It passes the suite that every guardrail must pass."""
    near, far = {"x": np.zeros((2, 4), np.float32)}, {"x": np.full((2, 4), 9.0, np.float32)}
    contracts.check_guardrail("out_of_distribution", MODEL, {"fitted": fitted}, near, far)


def test_the_refusal_says_which_row_and_how_far(fitted: str) -> None:
    """One strange row among usual ones is named, with distance, limit and rate."""
    check = OutOfDistribution().prepare(MODEL, {"fitted": fitted})
    request = {"x": np.zeros((3, 4), np.float32)}
    assert check(request) is None
    request["x"][1] = 8.0
    refusal = check(request)
    assert refusal is not None
    assert refusal.reason.startswith("row 1 is unlike the data of this model")
    assert "at most 5 % of rows like the data lie beyond that" in refusal.reason
    assert "refused whole" in refusal.reason


def test_fresh_rows_are_refused_at_no_more_than_the_rate(fitted: str) -> None:
    """Of 4,000 other normal rows, asked one by one, at most 5 % are refused (and some are)."""
    check = OutOfDistribution().prepare(MODEL, {"fitted": fitted})
    fresh = rows(4000)["x"]
    refused = sum(check({"x": fresh[i : i + 1]}) is not None for i in range(4000))
    assert 0 < refused / 4000 <= 0.05


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "give `fitted`"),
        ({"fitted": ""}, "give `fitted`"),
        ({"fitted": 3}, "give `fitted`"),
        ({"fitted": "x", "rate": 0.1}, "no setting `rate`"),
        ({"fitted": "/nowhere.npz"}, "can't be read"),
    ],
)
def test_settings_that_can_t_be_are_refused(settings: dict[str, object], words: str) -> None:
    """The server does not start with a guardrail that can't judge."""
    with pytest.raises(ConfigError, match=words):
        OutOfDistribution().prepare(MODEL, settings)


def test_a_file_for_another_model_is_refused(fitted: str) -> None:
    """Another encoder, or other inputs, give other numbers: the distance would mean nothing."""
    other = dataclasses.replace(MODEL, encoder=Encoder("arrays", digest="f" * 64))
    with pytest.raises(ConfigError, match="another encoder"):
        OutOfDistribution().prepare(other, {"fitted": fitted})
    renamed = dataclasses.replace(MODEL, inputs=(TensorSpec("y", "float32", ("batch", 4)),))
    with pytest.raises(ConfigError, match="fitted for the inputs x"):
        OutOfDistribution().prepare(renamed, {"fitted": fitted})


def test_rows_of_another_length_are_refused(fitted: str) -> None:
    """A request of another length is unlike what was known."""
    check = OutOfDistribution().prepare(MODEL, {"fitted": fitted})
    refusal = check({"x": np.zeros((2, 5), np.float32)})
    assert refusal is not None
    assert "of another length" in refusal.reason
