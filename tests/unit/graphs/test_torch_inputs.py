"""What layers are given, layer by layer: against the module itself, whole and block by block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from jettison.errors import CandidateFailed
from jettison.graphs import torch_blocks, torch_inputs
from jettison.graphs.torch_inputs import TensorBatch, visit
from jettison.graphs.torch_layers import PrunableLayer, prunable_layers, weight_matrix
from jettison.numerics.input_sums import Moments


class Block(nn.Module):
    """A residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Any, scale: float, shift: Any = None) -> tuple[Any, ...]:
        return (x + scale * self.outer(torch.relu(self.inner(x + shift))),)


class Stack(nn.Module):
    """Blocks between a first and a last layer, and a layer that nothing needs."""

    def __init__(self, width: int = 6, blocks: int = 3) -> None:
        super().__init__()
        self.idle = nn.Linear(3, 3)
        self.first = nn.Linear(4, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.last = nn.Linear(width, 2)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        shift = x.mean(0)
        for block in self.blocks:
            x = block(x, 0.5, shift=shift)[0]
        return self.last(x)


class Counting(Stack):
    """Blocks that answer differently when they are asked again."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.blocks[1].register_forward_hook(self._count)

    def _count(self, part: Any, given: Any, answer: Any) -> tuple[Any, ...]:
        self.asked += 1
        return (answer[0] + self.asked,)


class Loose(Stack):
    """The same layers, but in no list: they are looked at one by one."""

    def __init__(self) -> None:
        super().__init__()
        held = nn.ModuleDict({str(i): block for i, block in enumerate(self.blocks)})
        self.blocks = held

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        shift = x.mean(0)
        for block in self.blocks.values():
            x = block(x, 0.5, shift=shift)[0]
        return self.last(x)


def batches(*sizes: int) -> tuple[TensorBatch, ...]:
    generator = torch.Generator().manual_seed(3)
    return tuple(TensorBatch({"x": torch.randn(n, 4, generator=generator)}) for n in sizes)


def moments(layer: PrunableLayer) -> Moments:
    return Moments(*torch_inputs.column_groups(layer), "cpu")


def halve(layer: PrunableLayer, _: Any) -> None:
    weight_matrix(layer).mul_(0.5)


def test_a_chain_of_blocks_is_found_and_proved() -> None:
    """Blocks that run one after the other are a chain."""
    stack = Stack().eval()
    with torch.no_grad():
        chain = torch_blocks.find_chain(stack, batches(5)[0].inputs)
    assert chain.names == ("blocks.0", "blocks.1", "blocks.2")
    assert chain.place_of(("blocks.2.inner",)) == 2
    assert chain.place_of(("last",)) is None
    assert chain.place_of(("blocks.1.inner", "last")) is None


def test_blocks_that_remember_are_no_chain() -> None:
    """A block that answers differently the second time can't be run on its own."""
    with torch.no_grad():
        assert torch_blocks.find_chain(Counting().eval(), batches(5)[0].inputs).names == ()


def test_parallel_branches_are_no_chain() -> None:
    """A list of modules that all read the same input is no chain."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Any) -> Any:
            return sum(part(x) for part in self.parts)

    with torch.no_grad():
        assert torch_blocks.find_chain(Branches(), batches(2)[0].inputs).names == ()


@pytest.mark.parametrize("kind", [Stack, Loose])
def test_sums_are_those_of_the_edited_module(kind: type[Stack]) -> None:
    """Each layer is summed with all layers before it edited, whether it lies in a chain or not."""
    torch.manual_seed(0)
    net = kind().eval()
    some = batches(5, 5, 2)
    seen: dict[str, Any] = {}

    def edit(layer: PrunableLayer, total: Moments) -> None:
        seen[layer.name] = total.mean[0].clone()
        assert total.count == 12
        halve(layer, total)

    visited = visit(net, prunable_layers(net), some, moments, edit)
    assert [layer.name for layer in visited] == [
        "first",
        *(f"blocks.{i}.{part}" for i in range(3) for part in ("inner", "outer")),
        "last",
    ]
    given: list[Any] = []
    net.last.register_forward_pre_hook(lambda part, args: given.append(args[0]))
    for batch in some:
        net(**batch.inputs)
    rows = torch.cat(given).detach().double()
    torch.testing.assert_close(seen["last"], 2 * rows.T @ rows / 12, rtol=1e-4, atol=1e-5)


class Named(nn.Module):
    """Calls a network by the name of its input."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*parts)

    def forward(self, x: Any) -> Any:
        return self.net(x)


def test_a_module_without_a_chain_goes_layer_by_layer() -> None:
    """The second layer's inputs come from the first one as it was edited."""
    named = Named(nn.Linear(4, 3), nn.Linear(3, 2)).eval()
    seen = {}

    def edit(layer: PrunableLayer, total: Moments) -> None:
        seen[layer.name] = float(total.mean.abs().max())
        weight_matrix(layer).zero_()
        layer.module.bias.data.fill_(2.0)

    visit(named, prunable_layers(named), batches(6), moments, edit)
    assert seen["net.1"] == pytest.approx(8.0)


def test_a_tied_layer_sees_the_inputs_of_all_its_places() -> None:
    """A weight that two modules share is summed over both of them."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    counts = []
    tied = Tied().eval()
    visit(tied, prunable_layers(tied), batches(6), moments, lambda _, s: counts.append(s.count))
    assert counts == [12]


def test_padded_positions_are_left_out() -> None:
    """Tokens that only fill up a row don't count."""
    x = torch.randn(2, 3, 4)
    real = torch.tensor([[True, True, True], [True, False, False]])
    sums = []
    named = Named(nn.Linear(4, 2))
    batch = TensorBatch({"x": x}, real)
    visit(named, prunable_layers(named), [batch], moments, lambda _, total: sums.append(total))
    rows = x[real].double()
    assert sums[0].count == 4
    torch.testing.assert_close(sums[0].mean[0], 2 * rows.T @ rows / 4, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Conv2d(4, 6, (3, 2), stride=2, dilation=(1, 2), padding=(0, 1)),
        nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"),
        nn.Conv2d(4, 6, (1, 5), padding="same", dilation=(1, 2)),
        nn.Conv2d(4, 8, 3, groups=2, padding="valid"),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv1d(4, 6, 3, padding=1, stride=2),
    ],
)
def test_unfolded_inputs_times_the_matrix_are_the_answers(conv: Any) -> None:
    """For every stride, padding, dilation and number of groups."""
    layer = prunable_layers(nn.Sequential(conv))[0]
    x = torch.randn(3, 4, *([9, 8] if isinstance(conv, nn.Conv2d) else [9]))
    columns = torch_inputs.layer_inputs(layer, x)
    assert columns.shape[0] == conv.groups
    matrix = weight_matrix(layer).view(conv.groups, -1, columns.shape[-1])
    answers = torch.matmul(columns, matrix.transpose(1, 2))
    wanted = conv(x) - conv.bias.view(1, -1, *[1] * (x.dim() - 2))
    wanted = wanted.reshape(3, conv.groups, -1, wanted[0, 0].numel()).permute(1, 0, 3, 2)
    torch.testing.assert_close(
        answers, wanted.reshape(conv.groups, answers.shape[1], -1), rtol=1e-4, atol=1e-5
    )


def test_inputs_that_are_not_finite_name_batch_and_layer() -> None:
    """NaN in the second batch is told before anything is edited by it."""
    some = batches(4, 4)
    some[1].inputs["x"][0, 0] = torch.nan
    stack = Stack().eval()
    with pytest.raises(CandidateFailed, match=r"layer `first` is given NaN.*in batch 1"):
        visit(stack, prunable_layers(stack), some, moments, halve)


def test_only_zeros_are_refused() -> None:
    """A layer whose inputs are always 0 can't be pruned by them."""
    stack = Stack().eval()
    zeros = [TensorBatch({"x": torch.zeros(3, 4)})]
    with pytest.raises(CandidateFailed, match="layer `first` is given only zeros"):
        visit(stack, prunable_layers(stack), zeros, moments, halve)


def test_a_real_transformer_is_a_chain(tiny_classifier: Path) -> None:
    """The blocks of a BERT of transformers are found, and its pooler and head come after."""
    from jettison.graphs.torch_text import open_text_model

    model = open_text_model(tiny_classifier)
    ids = torch.randint(5, 20, (3, 7))
    batch = TensorBatch({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    with torch.no_grad():
        chain = torch_blocks.find_chain(model, batch.inputs)
    assert chain.names == ("backbone.bert.encoder.layer.0", "backbone.bert.encoder.layer.1")
    visited: list[str] = []
    edit: Callable[[PrunableLayer, Any], None] = lambda layer, _: visited.append(layer.name)  # noqa: E731
    visit(model, prunable_layers(model), [batch], moments, edit)
    assert len(visited) == 2 * 6 + 2
    assert visited[-1] == "backbone.classifier"
