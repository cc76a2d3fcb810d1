"""Archives of torch.export: read without PyTorch's loader, with the answers that it would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from jettison.errors import ModelError  # noqa: E402
from jettison.graphs.torch_archive import read_archive  # noqa: E402
from jettison.graphs.torch_describe import described_outputs  # noqa: E402
from jettison.graphs.torch_lift import lift  # noqa: E402
from tests.unit.graphs import torch_models as models  # noqa: E402

FREE = torch.export.Dim.DYNAMIC


def exported(module: Any, shapes: Any, **named: Any) -> Any:
    return torch.export.export(module.eval(), (), kwargs=named, dynamic_shapes=shapes, strict=False)


def test_tied_weights_and_names(tmp_path: Path) -> None:
    """Free dimensions, outputs, ties and layers of an archive are those of the module."""
    module = models.Tied()
    ids = torch.randint(0, 50, (2, 9))
    torch.export.save(exported(module, {"ids": {0: FREE, 1: FREE}}, ids=ids), tmp_path / "m.pt2")
    found, signature = read_archive(tmp_path / "m.pt2")
    assert signature.inputs[0].shape == ("batch", "size_1")
    assert signature.outputs == ("scores", "pooled")
    opened = lift(found, signature)
    assert opened.head.weight is opened.embed.weight
    ids = torch.randint(0, 50, (3, 21))
    for one, two in zip(opened(ids=ids), module(ids).values(), strict=True):
        torch.testing.assert_close(one, two)


class Frames(torch.nn.Module):  # type: ignore[misc]
    """Sound as it came, and at half its rate."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(4, 4, 2, stride=2)

    def forward(self, sound: Any) -> Any:
        return self.conv(sound.transpose(1, 2)).transpose(1, 2), sound * 2


def test_an_answer_of_another_length_is_not_that_of_its_row(tmp_path: Path) -> None:
    """A free size of an answer bears the name of an input's only where it is as long."""
    program = exported(Frames(), {"sound": {0: FREE, 1: FREE}}, sound=torch.randn(2, 8, 4))
    torch.export.save(program, tmp_path / "m.pt2")
    found, signature = read_archive(tmp_path / "m.pt2")
    half, whole = described_outputs(lift(found, signature), signature)
    assert signature.inputs[0].shape == whole.shape == ("batch", "size_1", 4)
    assert half.shape[1] not in (8, "size_1")


def test_an_input_called_input(tmp_path: Path) -> None:
    """A module such as `nn.Sequential` calls its argument `input`, as a function of Python is."""
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    rows = torch.randn(3, 4)
    torch.export.save(exported(module, {"input": {0: FREE}}, input=rows), tmp_path / "m.pt2")
    opened = lift(*read_archive(tmp_path / "m.pt2"))
    assert {"BatchNorm1d", "Linear"} <= {type(part).__name__ for part in opened.modules()}
    torch.testing.assert_close(opened(input=rows), module(rows))


def test_an_input_that_numpy_has_no_arrays_for(tmp_path: Path) -> None:
    """Inputs of bfloat16 are refused by name."""
    module = torch.nn.Linear(4, 2, dtype=torch.bfloat16)
    rows = torch.randn(2, 4, dtype=torch.bfloat16)
    torch.export.save(exported(module, {"input": {0: FREE}}, input=rows), tmp_path / "m.pt2")
    with pytest.raises(ModelError, match="takes the input `input` as bfloat16"):
        read_archive(tmp_path / "m.pt2")


# PyTorch 2.13 warns of its own use of `LeafSpec` while it decomposes.
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_decomposed_programs(tmp_path: Path) -> None:
    """The operators that a decomposition leaves become the same layers again."""
    module = models.Conv()
    image = torch.randn(2, 3, 32, 32)
    program = exported(module, {"image": {0: FREE}}, image=image).run_decompositions()
    torch.export.save(program, tmp_path / "m.pt2")
    opened = lift(*read_archive(tmp_path / "m.pt2"))
    assert type(opened.conv) is torch.nn.Conv2d
    assert type(opened.norm) is torch.nn.BatchNorm2d
    assert type(opened.head) is torch.nn.Linear
    assert set(opened.state_dict()) == set(module.state_dict())
    torch.testing.assert_close(opened(image=image), module(image))
