"""Stored programs: real layers under their names, the same answers, ties, free dimensions."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from jettison.errors import ModelError  # noqa: E402
from jettison.graphs.torch_capture import capture  # noqa: E402
from jettison.graphs.torch_program import open_program, save_program  # noqa: E402
from jettison.graphs.torch_signature import parse_inputs, signature_of  # noqa: E402
from jettison.graphs.torch_text import open_text_model  # noqa: E402
from tests.unit.graphs import torch_models as models  # noqa: E402

nn = torch.nn

NETWORKS = {
    "cifar_resnet.py:resnet20": "resnet20-cifar10-chita.safetensors",
    "cifar_resnet.py:resnet20_option_a": "resnet20-cifar10-akamaster.safetensors",
    "mnist_mlp.py:mlpnet": "mlpnet-mnist-chita.safetensors",
}


def stored(module: Any, inputs: tuple[str, ...], folder: Path) -> Any:
    """The program of a module, written and opened again."""
    save_program(capture(module, parse_inputs(inputs)), folder)
    return open_program(folder)


def same(one: Any, two: Any, **named: Any) -> None:
    """Both answer the same, but for the order of sums."""
    with torch.no_grad():
        for first, second in zip(leaves(one(**named)), leaves(two(**named)), strict=True):
            torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-6)


def leaves(answer: Any) -> tuple[Any, ...]:
    values = answer.values() if isinstance(answer, dict) else answer
    return tuple(values) if isinstance(values, tuple) or answer is not values else (answer,)


@pytest.fixture(scope="module")
def conv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small convolutional program."""
    folder = tmp_path_factory.mktemp("conv")
    save_program(capture(models.Conv(), parse_inputs(models.IMAGE)), folder)
    return folder


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A program with tied weights, as it was opened."""
    return stored(models.Tied(), models.TOKENS, tmp_path_factory.mktemp("tied"))


@pytest.mark.parametrize("function", sorted(NETWORKS))
def test_shared_networks(function: str, shared_data: Path, tmp_path: Path) -> None:
    """A real checkpoint keeps every name, class and answer, at any batch size."""
    original = models.example(function, shared_data / "models" / NETWORKS[function])
    size = "batch, 3, 32, 32" if "resnet" in function else "batch, 28, 28"
    opened = stored(original, (f"image: float32[{size}]",), tmp_path)
    assert {n: type(p) for n, p in opened.named_parameters()} == {
        n: type(p) for n, p in original.named_parameters()
    }
    assert set(opened.state_dict()) == set(original.state_dict())
    layers = {n: type(m) for n, m in original.named_modules() if list(m.parameters(recurse=False))}
    assert {n: type(opened.get_submodule(n)) for n in layers} == layers
    rest = (3, 32, 32) if "resnet" in function else (28, 28)
    for rows in (1, 5):
        same(original, opened, image=torch.randn(rows, *rest))


def test_text_model(tiny_classifier: Path, tmp_path: Path) -> None:
    """A transformers model is exported by its own signature, with free batch and sequence."""
    original = open_text_model(tiny_classifier)
    assert save_program(original, tmp_path) == ("program.json", "weights.safetensors")
    opened = open_program(tmp_path)
    assert original.backbone.config._attn_implementation == "sdpa"
    assert not any("dot_product" in str(node.target) for node in opened.graph.nodes)
    assert set(dict(original.named_parameters())) == set(dict(opened.named_parameters()))
    assert type(opened.backbone.get_submodule("bert.encoder.layer.0.output.dense")) is nn.Linear
    for rows, length in ((1, 5), (3, 11)):
        ids = torch.randint(4, 30, (rows, length))
        mask = torch.ones_like(ids)
        mask[-1, length // 2 :] = 0
        named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        same(original, opened, **named)


@pytest.mark.slow
def test_minilm(minilm: Path, tmp_path: Path) -> None:
    """MiniLM with its pooling answers the same as a program."""
    original = open_text_model(minilm)
    save_program(original, tmp_path)
    ids = torch.randint(1000, 2000, (2, 12))
    named = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    same(original, open_program(tmp_path), **named, token_type_ids=torch.zeros_like(ids))


def test_tied_weights_stay_tied(tied: Any) -> None:
    """One tensor under two names is one parameter, stored once, with one gradient."""
    assert tied.head.weight is tied.embed.weight
    assert isinstance(tied.embed, nn.Embedding)
    assert tied.embed.padding_idx == 0
    tied.zero_grad()
    scores, _ = tied(ids=torch.tensor([[3, 4, 5]]))
    scores.sum().backward()
    assert bool(tied.embed.weight.grad.abs().sum() > 0)
    assert bool(tied.scale.grad.abs().sum() > 0)


def test_answers_of_a_program_with_regions(tied: Any) -> None:
    """Dropout is gone, regions without gradients are copied in, keys name the outputs."""
    original = models.Tied().eval()
    for rows, length in ((1, 7), (4, 20)):
        same(original, tied, ids=torch.randint(0, 50, (rows, length)))
    assert signature_of(tied).outputs == ("scores", "pooled")
    assert not tied.training
    assert [name for name, _ in tied.named_buffers()] == ["places"]
    assert not any("dropout" in str(node.target) for node in tied.graph.nodes)


def test_input_called_like_a_built_in_function(tmp_path: Path) -> None:
    """`nn.Sequential` calls its input `input`, which no node of a graph may be called."""
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    opened = stored(net, ("input: float32[batch, 8]",), tmp_path)
    same(net, opened, input=torch.randn(3, 8))
    save_program(opened, tmp_path / "again")
    same(net, open_program(tmp_path / "again"), input=torch.randn(3, 8))


def test_same_module_same_bytes(conv: Path, tmp_path: Path) -> None:
    """Saving what was opened gives the bytes that were read, and deep copies can be saved."""
    opened = open_program(conv)
    for folder, module in ((tmp_path / "a", opened), (tmp_path / "b", copy.deepcopy(opened))):
        for name in save_program(module, folder):
            assert (folder / name).read_bytes() == (conv / name).read_bytes()


def test_changed_weights_are_saved(conv: Path, tmp_path: Path) -> None:
    """New weights and BatchNorm statistics come back as they were set."""
    opened = open_program(conv)
    with torch.no_grad():
        opened.conv.weight[0] = 0.0
        opened.norm.running_var.fill_(3.0)
    save_program(opened, tmp_path)
    again = open_program(tmp_path)
    assert not again.conv.weight[0].any()
    assert again.norm.running_var.unique().tolist() == [3.0]
    same(opened, again, image=torch.randn(2, 3, 32, 32))


def test_batchnorm_can_learn_again(conv: Path) -> None:
    """In training mode a BatchNorm of an opened program follows its input."""
    opened = open_program(conv)
    before = opened.norm.running_mean.clone()
    opened.norm.train()
    opened(image=torch.randn(8, 3, 32, 32) + 5)
    assert not torch.equal(before, opened.norm.running_mean)


def test_a_layer_replaced_by_two(conv: Path, tmp_path: Path) -> None:
    """A layer of another kind is exported again: two matrices instead of one, any batch size."""
    opened = open_program(conv)
    torch.manual_seed(1)
    opened.head = nn.Sequential(nn.Linear(8, 2, bias=False), nn.Linear(2, 4))
    save_program(opened, tmp_path)
    again = open_program(tmp_path)
    assert [type(m) for m in again.head.children()] == [nn.Linear, nn.Linear]
    for rows in (1, 7):
        same(opened, again, image=torch.randn(rows, 3, 32, 32))


def test_removed_channels(conv: Path, tmp_path: Path) -> None:
    """Channels that a dependency graph removed stay removed, in every layer."""
    pruning = pytest.importorskip("torch_pruning")
    opened = open_program(conv)
    example = {"image": torch.randn(2, 3, 32, 32)}
    graph = pruning.DependencyGraph().build_dependency(opened, example_inputs=example)
    group = graph.get_pruning_group(opened.conv, pruning.prune_conv_out_channels, idxs=[1, 4, 5])
    group.prune()
    save_program(opened, tmp_path)
    again = open_program(tmp_path)
    assert (again.conv.out_channels, again.norm.num_features, again.head.in_features) == (5, 5, 5)
    same(opened, again, image=torch.randn(3, 3, 32, 32))


def test_the_module_is_left_alone() -> None:
    """Capturing neither changes the mode of a module nor its answers."""
    module = models.Conv().train()
    module.norm.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    program = capture(module, parse_inputs(models.IMAGE))
    assert (module.training, module.norm.training, program.training) == (True, False, False)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("module", "inputs", "reason"),
    [
        (models.Recurrent(), ("frames: float32[batch, time, 4]",), "can't express `Recurrent`"),
        (models.Branching(), models.IMAGE, "can't express `Branching`"),
        (models.FixedBatch(), models.IMAGE, "can't"),
        (models.Counting(), models.IMAGE, "changes `calls` when it answers"),
        (models.Texts(), models.IMAGE, "must answer with tensors"),
        (models.Conv(), ("image: float32[batch, 5, 32, 32]",), "can't run on `image`"),
        (models.Conv(), ("pixels: float32[batch, 3, 32, 32]",), "can't run on `pixels`"),
    ],
    ids=["recurrent", "branching", "fixed-batch", "counting", "texts", "shape", "name"],
)
def test_what_can_not_be_exported(module: Any, inputs: tuple[str, ...], reason: str) -> None:
    """Every such model is refused with one sentence that says why."""
    with pytest.raises(ModelError, match=reason):
        capture(module, parse_inputs(inputs))


def test_random_answers_are_refused(tmp_path: Path) -> None:
    """A model that draws numbers is refused, at the latest when it is saved."""
    with pytest.raises(ModelError, match=r"differently|random"):
        stored(models.Random(), models.IMAGE, tmp_path)


def test_a_recurrent_model_of_fixed_length(tmp_path: Path) -> None:
    """With its length stated, an LSTM is exported, or refused in one sentence."""
    module = models.Recurrent().eval()
    opened = stored(module, ("frames: float32[batch, 7, 4]",), tmp_path)
    for rows in (1, 3):
        frames = torch.randn(rows, 7, 4)
        torch.testing.assert_close(opened(frames=frames), module(frames))


def test_a_module_without_a_signature(tmp_path: Path) -> None:
    """A module that says nothing about its inputs can't be saved; it is told what to set."""
    with pytest.raises(ModelError, match="signature"):
        save_program(models.Conv(), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "image",
        "image: float32",
        "image: float31[batch, 3]",
        "image: float32[batch, 0]",
        "image: float32[2, 3]",
        "class: float32[batch, 3]",
        "im age: float32[batch]",
        "image: float32[]",
    ],
)
def test_inputs_that_are_not_understood(text: str) -> None:
    """Anything but `name: dtype[batch, size]` is refused with the form."""
    with pytest.raises(ModelError, match=r"model\.inputs"):
        parse_inputs([text])


def test_two_parameters_over_one_storage(tmp_path: Path) -> None:
    """A parameter made of another's values is stored, and both are there again."""

    class Copied(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4, bias=False)
            self.two = nn.Linear(4, 4, bias=False)
            self.two.weight = nn.Parameter(self.one.weight)

        def forward(self, x: Any) -> Any:
            return self.two(torch.relu(self.one(x)))

    module = Copied()
    assert module.one.weight is not module.two.weight
    same(module.eval(), stored(module, ("x: float32[batch, 4]",), tmp_path), x=torch.randn(3, 4))
