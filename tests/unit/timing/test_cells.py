"""Batch size by length: which lengths, and what is made of the readings."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.device import ServingProfile
from jettison.domain.encoder import Encoder
from jettison.domain.jobs import Burst, Variant
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.recipe import Step
from jettison.domain.rows import LENGTHS, Rows
from jettison.timing.cells import cell_estimates, left_out, lengths_to_show, play_cells
from jettison.timing.claims import ClaimPlan, claim_costs


@pytest.fixture
def ragged(tmp_path: Path) -> Rows:
    """A hundred rows of 1 to 100 numbers."""
    lengths = np.arange(1, 101)
    values = np.where(np.arange(100)[None, :] < lengths[:, None], 1.0, 0.0).astype(np.float32)
    folder = tmp_path / "ragged"
    folder.mkdir()
    np.save(folder / "x.npy", values)
    np.save(folder / f"{LENGTHS}.npy", lengths)
    return Rows(str(folder), ("x",), 100, {"x": 0.0}, "ragged")


def test_lengths_come_from_the_rows_or_the_user(ragged: Rows) -> None:
    """A tenth, half and nine tenths of the rows; the user's own where no row is too short for it."""
    assert lengths_to_show(ragged, ServingProfile()) == (11, 51, 91)
    assert lengths_to_show(ragged, ServingProfile(lengths=(64, 16, 4096))) == (16, 64)


def test_a_length_that_is_not_shown_is_told(ragged: Rows, tmp_path: Path) -> None:
    """Who named a length learns why it is missing; who named none is told nothing."""
    assert left_out(ragged, ServingProfile()) == ()
    assert left_out(ragged, ServingProfile(lengths=(64,))) == ()
    (note,) = left_out(ragged, ServingProfile(lengths=(64, 4096)))
    assert note == "Not timed at 4096 of `serving.lengths`: no row is longer than 100."
    np.save(tmp_path / "x.npy", np.zeros((4, 3), np.float32))
    (note,) = left_out(Rows(str(tmp_path), ("x",), 4), ServingProfile(lengths=(8,)))
    assert note.endswith("rows have one length.")


def test_rows_of_one_shape_have_no_lengths(tmp_path: Path) -> None:
    """Nothing is ragged, so nothing is shown besides."""
    np.save(tmp_path / "x.npy", np.zeros((4, 3), np.float32))
    assert lengths_to_show(Rows(str(tmp_path), ("x",), 4), ServingProfile()) == ()


def test_rows_are_cut_and_filled_up_to_one_length(ragged: Rows) -> None:
    """The nearest rows come first; a longer one loses its end, a shorter one is padded."""
    near = ragged.nearest(50)
    assert set(near[:3] + 1) == {49, 50, 51}
    batch = ragged.of_length(np.array([0, 99]), 50)["x"]
    assert batch.shape == (2, 50)
    assert batch.sum(axis=1).tolist() == [1.0, 50.0]
    assert ragged.of_length(np.array([99]), 120)["x"].shape == (1, 120)


class Fake:
    """A session whose calls take `base` seconds a row, and `each` for every position."""

    def __init__(self, base: float, each: float) -> None:
        self.base, self.each = base, each

    def burst(self, size: int, calls: int, length: int = 0) -> Burst:
        return Burst((self.base + self.each * size * length,) * calls, 0.0, 0)


def test_a_win_at_one_row_and_a_loss_at_many_are_both_told() -> None:
    """The candidate starts sooner and takes longer for each position."""
    sessions: dict[str, Any] = {"baseline": Fake(0.01, 1e-5), "x": Fake(0.001, 3e-5)}
    launches = [play_cells(sessions, (1, 32), (16, 64), random.Random(seed)) for seed in range(3)]
    found = {(e.metric, e.group): e for e in cell_estimates("baseline", "x", launches, noisy=False)}
    small = found["latency_ms:gain", "batch=1,length=16"]
    large = found["latency_ms:gain", "batch=32,length=64"]
    assert small.value == pytest.approx(0.01016 / 0.00148)
    assert large.value == pytest.approx((0.01 + 0.02048) / (0.001 + 0.06144))
    assert small.n == 3
    assert found["latency_ms", "batch=32,length=64"].value == pytest.approx(62.44 / 32)


def test_the_original_has_no_gain_over_itself() -> None:
    """And what is noisy is marked in every cell."""
    sessions: dict[str, Any] = {"baseline": Fake(0.01, 1e-5)}
    launches = [play_cells(sessions, (1,), (16,), random.Random(0))]
    (only,) = cell_estimates("baseline", "baseline", launches, noisy=True)
    assert (only.metric, only.state) == ("latency_ms", "noisy")


def test_a_claim_on_ragged_rows_has_its_cells(ragged: Rows, tmp_path: Path) -> None:
    """Real workers answer batches of one length; the figures stand beside those of rows as they come."""
    weight = np.ones((1, 8), np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["deep"]),
        helper.make_node("MatMul", ["deep", "w"], ["wide"]),
        helper.make_node("ReduceSum", ["wide", "reduced"], ["scores"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "ragged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 8])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.array([2]), "axis"),
            numpy_helper.from_array(np.array([1]), "reduced"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    model = Model(
        artifact=Artifact.of("onnx_file", folder, ("model.onnx",)),
        traits=frozenset({"onnx", "float32"}),
        inputs=(TensorSpec("x", "float32", ("batch", "length")),),
        outputs=(TensorSpec("scores", "float32", ("batch", 8)),),
        prediction="scores",
        task="classification",
        encoder=Encoder("arrays", digest="arrays"),
    )
    variant = Variant("baseline", model, Step("onnx_runtime"))
    serving = ServingProfile((1, 4), (0.5, 0.5), lengths=(10, 100))
    plan = ClaimPlan(launches=2, rounds=1, calls=1, max_seconds=0.0)
    result = claim_costs([variant], ragged, serving, ("latency_ms",), plan, tmp_path / "claims")
    groups = {e.group for e in result.measurements["baseline"].estimates}
    assert {"batch=1,length=10", "batch=4,length=100", "batch=4", "overall"} <= groups
