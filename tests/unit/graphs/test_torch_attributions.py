"""Integrated gradients of networks whose attributions can be found by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from jettison.domain.attribution import Contest
from jettison.domain.encoder import Encoder
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.domain.rows import LENGTHS, Rows
from jettison.errors import CandidateFailed
from jettison.graphs.torch_attributions import integrated_gradients


class Words(nn.Module):
    """Adds up one number a token; what is padded does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(6, 2)
        self.kinds = nn.Embedding(2, 2)
        with torch.no_grad():
            self.words.weight.copy_(torch.tensor([[0, 0], [1, 0], [0, 1], [2, 0], [0, 0], [0, 0]]))

    def forward(self, ids: Any, mask: Any) -> Any:
        seen = self.words(ids) + self.kinds(torch.zeros_like(ids)) * 0
        return torch.tanh((seen * mask[..., None]).sum(1))


class Sum(nn.Module):
    """One score a row: a weighted sum of a table beside a number."""

    def forward(self, table: Any, number: Any) -> Any:
        return table @ torch.tensor([1.0, -2.0]) + number


def described(names: dict[str, str], traits: frozenset[str] = frozenset()) -> Model:
    """A model of which only names, dtypes and traits are read."""
    inputs = tuple(TensorSpec(name, dtype, ("batch",)) for name, dtype in names.items())
    outputs = (TensorSpec("scores", "float32", ("batch",)),)
    nothing = Artifact("torch_program", "", (), "", 0)
    return Model(
        artifact=nothing,
        traits=traits | {"torch"},
        inputs=inputs,
        outputs=outputs,
        prediction="scores",
        task="classification",
        encoder=Encoder("arrays"),
    )


def rows(folder: Path, arrays: dict[str, np.ndarray[Any, Any]], **more: Any) -> Rows:
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    names = tuple(name for name in arrays if name != LENGTHS)
    return Rows(str(folder), names, len(arrays[names[0]]), **more)


def test_tokens_get_the_share_of_their_embedding(tmp_path: Path) -> None:
    """Shares stand at the tokens that moved, add up to the change of the contest, and padding has 0.

    A table that reads other numbers of the same shape is not taken for the reader of the tokens.
    """
    ids = np.array([[1, 3, 2, 0], [4, 4, 2, 0], [1, 1, 1, 1]])
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    arrays = {"ids": ids, "mask": mask.astype(np.float32), LENGTHS: np.array([3, 3, 4])}
    given = rows(tmp_path, arrays, pad={"ids": 0.0, "mask": 0.0})
    model = described({"ids": "int64", "mask": "float32"})
    found = integrated_gradients(model, Words(), given, [Contest(0, (1,), 0, 1, True)])
    assert set(found) == {"ids"}
    shares = found["ids"][0]
    assert shares.shape == (4,)
    assert shares[2:] == pytest.approx([0, 0], abs=1e-9)
    # On the straight way tanh grows with the sum alone, so 1 and 2 share as 1 to 2.
    assert shares[1] == pytest.approx(2 * shares[0])
    assert shares.sum() == pytest.approx(np.tanh(3.0), abs=1e-4)


@pytest.mark.parametrize("traits", [frozenset[str](), frozenset({"fixed-batch"})])
def test_numbers_get_their_share_of_a_sum(tmp_path: Path, traits: frozenset[str]) -> None:
    """Of one probability a row, a part has twice its share of the sum; over stand-ins the mean."""
    arrays = {
        "table": np.array([[0.3, 0.1], [0.1, 0.1], [0.1, 0.0]], dtype=np.float32),
        "number": np.array([0.5, 0.5, 0.4], dtype=np.float32),
    }
    model = described({"table": "float32", "number": "float32"}, traits)
    found = integrated_gradients(
        model, Sum(), rows(tmp_path, arrays), [Contest(0, (1, 2), 1, 0, True)]
    )
    assert found["table"][0] == pytest.approx([0.4, -0.2], abs=1e-5)
    assert found["number"][0] == pytest.approx(0.1, abs=1e-5)


def test_whole_numbers_without_an_embedding_are_refused(tmp_path: Path) -> None:
    """Where there is nothing to take a gradient with regard to, the input is named."""

    class Counts(nn.Module):
        def forward(self, ids: Any) -> Any:
            return ids.float()

    given = rows(tmp_path, {"ids": np.array([[1, 2], [3, 2]])})
    with pytest.raises(CandidateFailed, match="`ids` holds whole numbers"):
        integrated_gradients(
            described({"ids": "int64"}), Counts(), given, [Contest(0, (1,), 0, 1, False)]
        )


def test_labels_have_no_gradients(tmp_path: Path) -> None:
    """A module that answers with class numbers is refused with the reason."""

    class Labels(nn.Module):
        def forward(self, table: Any) -> Any:
            return table.argmax(1)

    given = rows(tmp_path, {"table": np.eye(2, dtype=np.float32)})
    with pytest.raises(CandidateFailed, match="labels, not scores"):
        integrated_gradients(
            described({"table": "float32"}), Labels(), given, [Contest(0, (1,), 0, 1, False)]
        )
