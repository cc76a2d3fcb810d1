"""The PyTorch loader: functions, weights, archives and live modules; one sentence for what fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from jettison import registry  # noqa: E402
from jettison.domain.configuration import ImageSection, ModelSection  # noqa: E402
from jettison.domain.extension_points import Source  # noqa: E402
from jettison.domain.model import Model, TensorSpec  # noqa: E402
from jettison.errors import ModelError, UsageError  # noqa: E402
from jettison.pipeline.load import load_model  # noqa: E402

LOADER = registry.get("loaders", "pytorch")

NET = '''
"""A small network, and functions that fail."""
import torch
from sizes import WIDTH

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(WIDTH, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.last = torch.nn.Linear(8, 3)

    def forward(self, row):
        return self.last(torch.relu(self.norm(self.first(row))))

def make():
    torch.manual_seed(0)
    return Net()

def make_number():
    return 3

def make_error():
    raise KeyError("secret.txt")

def make_half():
    return make().half()
'''

ROW = "row: float32[batch, 5]"
IMPORTED = "jettison_source_net"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A Python file beside another that it imports."""
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "sizes.py").write_text("WIDTH = 5\n")
    yield tmp_path / "net.py"
    for name in [name for name in sys.modules if name == "sizes" or name.startswith(IMPORTED)]:
        del sys.modules[name]


def load(location: str, folder: Path, task: str = "", **options: Any) -> Model:
    return LOADER.load(Source(location, task, options), folder / "loaded")


def state(net: Path) -> dict[str, Any]:
    from jettison.graphs.torch_source import call_function

    return dict(call_function(str(net), "make").state_dict())


def test_a_function(net: Path, tmp_path: Path) -> None:
    """A function gives a described program: names, shapes, task and traits."""
    model = load(f"{net}:make", tmp_path, inputs=ROW)
    assert model.inputs == (TensorSpec("row", "float32", ("batch", 5)),)
    assert model.outputs == (TensorSpec("output", "float32", ("batch", 3)),)
    assert (model.task, model.prediction, model.encoder.kind) == (
        "classification",
        "output",
        "arrays",
    )
    assert model.traits == {"torch", "float32", "dense", "matmul"}
    opened = registry.get("formats", model.artifact.format).open(model.artifact)
    assert isinstance(opened.norm, torch.nn.BatchNorm1d)


def test_weights(net: Path, tmp_path: Path) -> None:
    """Weights of a file take the place of those that the function made; names come with them."""
    held = {name: tensor + 1 for name, tensor in state(net).items()}
    del held["norm.num_batches_tracked"]
    save_file(held, str(tmp_path / "w.safetensors"))
    (tmp_path / "w.labels.json").write_text(json.dumps(["a", "b", "c"]))
    weights = str(tmp_path / "w.safetensors")
    model = load(f"{net}:make", tmp_path, inputs=ROW, weights=weights)
    opened = registry.get("formats", model.artifact.format).open(model.artifact)
    assert torch.equal(opened.first.weight, held["first.weight"])
    assert model.encoder.labels == ("a", "b", "c")


def test_weights_that_do_not_fit(net: Path, tmp_path: Path) -> None:
    """Missing, unexpected and misshapen weights are listed, and a prefix is recognised."""
    held = state(net)
    held["module.first.weight"] = held.pop("first.weight")
    held["last.bias"] = torch.zeros(7)
    save_file(held, str(tmp_path / "w.safetensors"))
    with pytest.raises(ModelError) as caught:
        load(f"{net}:make", tmp_path, inputs=ROW, weights=str(tmp_path / "w.safetensors"))
    for part in (
        "missing: first.weight",
        "unexpected: module.first.weight",
        "last.bias (7,) (the module has (3,))",
        "prefix `module.`",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("location", "options", "reason"),
    [
        ("net.py:make", {}, "its `forward` takes `row`"),
        ("net.py:mke", {"inputs": ROW}, "did you mean `make`"),
        ("net.py:make_number", {"inputs": ROW}, "returned a `int`"),
        ("net.py:make_error", {"inputs": ROW}, "KeyError"),
        ("net.py", {"inputs": ROW}, "name the function"),
        ("gone.py:make", {"inputs": ROW}, "there is no file"),
        ("no_such_package.net:make", {"inputs": ROW}, "No module named"),
        ("net.py:make", {"inputs": "row: float32[batch, 0]"}, "from 1 up"),
        ("net.py:make", {"inputs": "row: float32[batch, 6]"}, "can't run on `row`"),
        ("net.py:make", {"inputs": "row: int64[batch, 5]"}, "can't run on `row`"),
        ("net.py:make", {"inputs": ROW, "weights": "gone.safetensors"}, "there is no file"),
        ("net.py:make", {"inputs": ROW, "weights": "net.py"}, "of a kind that is not read"),
        ("net.py:make", {"inputs": ROW, "weights": "sizes.safetensors"}, "no safetensors file"),
    ],
)
def test_one_sentence_for_each_mistake(
    location: str, options: dict[str, str], reason: str, net: Path, tmp_path: Path
) -> None:
    """Everything that a user may get wrong is said with what to do."""
    (tmp_path / "sizes.safetensors").write_bytes(b"not a file of weights")
    if "weights" in options:
        options = {**options, "weights": str(tmp_path / options["weights"])}
    where = location if location.startswith("no_") else str(tmp_path / location)
    with pytest.raises(ModelError, match=reason):
        load(where, tmp_path, **options)


def test_weights_alone(tmp_path: Path) -> None:
    """A file of weights without its model is claimed, to say what is missing."""
    save_file({"w": torch.ones(2)}, str(tmp_path / "w.safetensors"))
    assert LOADER.claims(Source(str(tmp_path / "w.safetensors")))
    with pytest.raises(ModelError, match="give the function that makes the module"):
        load(str(tmp_path / "w.safetensors"), tmp_path)


def test_an_archive(net: Path, tmp_path: Path) -> None:
    """A .pt2 says itself what goes in; other inputs or weights beside it are refused."""
    from jettison.graphs.torch_source import call_function

    module = call_function(str(net), "make").eval()
    shapes = {"row": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(
        module, (), kwargs={"row": torch.randn(2, 5)}, dynamic_shapes=shapes, strict=False
    )
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    model = load(str(path), tmp_path)
    live = load_model(ModelSection("live object"), tmp_path / "live", live=program)
    assert live.artifact.digest == model.artifact.digest
    opened = registry.get("formats", model.artifact.format).open(model.artifact)
    row = torch.randn(3, 5)
    torch.testing.assert_close(opened(row=row), module(row))
    with pytest.raises(ModelError, match="leave it out"):
        load(str(path), tmp_path, weights="w.safetensors")
    with pytest.raises(ModelError, match=r"leave `model\.inputs` out"):
        load(str(path), tmp_path, inputs=ROW)
    fixed = torch.export.export(module, (torch.randn(4, 5),), strict=False)
    torch.export.save(fixed, path)
    with pytest.raises(ModelError, match="free first dimension"):
        load(str(path), tmp_path)


def test_a_live_module(net: Path, tmp_path: Path) -> None:
    """A module of this process is saved where it is, and stays as it was."""
    from jettison.graphs.torch_source import call_function

    module = call_function(str(net), "make").train()
    section = ModelSection("live object", inputs=(ROW,))
    model = load_model(section, tmp_path / "loaded", live=module)
    assert model.artifact.format == "torch_program"
    assert module.training
    with pytest.raises(ModelError, match="inputs of the live module are not stated"):
        load_model(ModelSection("live object"), tmp_path / "other", live=module)


def test_a_live_program_that_is_refused(tmp_path: Path) -> None:
    """It is named as such, not by the file that it went through."""
    fixed = torch.export.export(torch.nn.Linear(5, 3), (torch.randn(4, 5),), strict=False)
    kind = registry.get("loaders", "pytorch")
    with pytest.raises(ModelError, match="of the live program has shape") as caught:
        kind.load(Source("live object", "", {}, fixed), tmp_path / "out")
    assert ".pt2" not in str(caught.value)


def test_half_precision(net: Path, tmp_path: Path) -> None:
    """Weights of 16 bits give the trait, and not the one of 32 bits."""
    model = load(f"{net}:make_half", tmp_path, inputs="row: float16[batch, 5]")
    assert "float16" in model.traits
    assert "float32" not in model.traits


@pytest.mark.parametrize(
    ("task", "reason"), [("regression", ""), ("embedding", ""), ("poetry", "`poetry` does not fit")]
)
def test_a_stated_task(task: str, reason: str, net: Path, tmp_path: Path) -> None:
    """A task that the shape allows is taken; another is refused."""
    if not reason:
        assert load(f"{net}:make", tmp_path, task, inputs=ROW).task == task
        return
    with pytest.raises(ModelError, match=reason):
        load(f"{net}:make", tmp_path, task, inputs=ROW)


def test_options_that_a_loader_does_not_read(tiny_classifier: Path, tmp_path: Path) -> None:
    """Weights or inputs for a model that brings them along are refused, not ignored."""
    for section in (
        ModelSection(str(tiny_classifier), weights="w.safetensors"),
        ModelSection(str(tiny_classifier), inputs=(ROW,)),
    ):
        with pytest.raises(UsageError, match="is not for this kind of model"):
            load_model(section, tmp_path / "loaded")


@pytest.mark.slow
def test_through_a_worker(net: Path, tmp_path: Path) -> None:
    """The function runs in a worker; the table `image` becomes the encoder."""
    section = ModelSection(f"{net}:make", inputs=(ROW,))
    image = ImageSection(mean=(0.5,), std=(0.25,))
    model = load_model(section, tmp_path / "loaded", tables={"image": image})
    assert model.encoder.kind == "image"
    assert model.encoder.settings["mean"] == [0.5]
    assert not any(name.startswith(IMPORTED) for name in sys.modules)
