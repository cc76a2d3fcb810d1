"""Before the search: what was taken for granted is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jettison.domain.configuration import Configuration, DataSection, ModelSection
from jettison.domain.progress import Silent
from jettison.errors import SealRefused
from jettison.preparation import prepare
from jettison.trust.ledger import Charge, Ledger
from jettison.trust.looks import look_plan
from jettison.trust.seal import sealed_row_set


class Ears(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        """Keeps the line."""
        self.said.append(line)


def write_projection(path: Path, output: str, width: int) -> Path:
    """A network of one product."""
    weights = np.random.default_rng(0).normal(size=(8, width)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], [output])],
        "projection",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("output", "width", "task", "said"),
    [
        ("embedding", 48, "", "read as an embedding, and quality is judged by cosine"),
        ("scores", 48, "", "read as the scores of its classes, and quality is judged by agreement"),
        ("scores", 48, "classification", ""),
        ("scores", 3, "", ""),
    ],
)
def test_a_wide_output_that_nobody_explained(
    tmp_path: Path, output: str, width: int, task: str, said: str
) -> None:
    """How 48 floats are read is said, and how to say otherwise; not where there is no doubt."""
    path = write_projection(tmp_path / "m.onnx", output, width)
    ears = Ears()
    made = prepare(
        Configuration(ModelSection(str(path), task=task), output=str(tmp_path / "run")), ears
    )
    heard = [line for line in ears.said if "were read as" in line]
    assert len(heard) == bool(said)
    assert all(said in line and "model.task" in line for line in heard)
    assert set(heard) <= set(made.splits.notes)


def test_rows_that_wait_for_a_further_look_are_not_fitted_on(tmp_path: Path) -> None:
    """After the first of two looks another seed is refused before anything is profiled."""
    path = write_projection(tmp_path / "m.onnx", "scores", 3)
    x = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=x)

    def configured(seed: int) -> Configuration:
        return Configuration(
            ModelSection(str(path), task="classification"),
            DataSection(str(tmp_path / "rows.npz"), seed=seed),
            output=str(tmp_path / f"run {seed}"),
            ledger=str(tmp_path / "ledger"),
        )

    sealed = prepare(configured(1), Silent()).splits.certification
    assert sealed is not None
    charge = Charge("c", sealed.digest, "o", 0.05, sealed_row_set(sealed), "", look_plan(2))
    Ledger.at(tmp_path / "ledger").charge(charge)
    with pytest.raises(SealRefused, match="wait for further declared looks"):
        prepare(configured(2), Silent())
