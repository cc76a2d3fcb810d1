"""Layers that can be pruned: which, under which names, and as which matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from jettison.errors import CandidateFailed, NothingChanged
from jettison.graphs import torch_layers
from jettison.graphs.torch_layers import prunable_layers


class Net(nn.Module):
    """A convolution net with norms, an embedding, a tied pair and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.words = nn.Embedding(10, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4))
        self.body[2].weight = self.body[0].weight
        self.scores = nn.Linear(4, 10)
        self.head = nn.Linear(4, 2)


def test_only_products_with_weights_of_their_own() -> None:
    """Convolutions and linear layers appear; norms, biases and embeddings don't."""
    layers = prunable_layers(Net())
    assert [layer.name for layer in layers] == ["stem", "body.0", "scores", "head"]
    assert [layer.kind for layer in layers] == ["convolution", "linear", "linear", "linear"]
    assert layers[0].weight_shape == (8, 3, 3, 3)
    assert layers[0].count == 216


def test_a_shared_weight_appears_once_with_all_names() -> None:
    """Two modules with one weight are one layer; either name selects it."""
    net = Net()
    tied = prunable_layers(net)[1]
    assert tied.names == ("body.0", "body.2")
    assert [layer.name for layer in prunable_layers(net, "body.2")] == ["body.0"]


def test_one_module_under_two_names_appears_once() -> None:
    """A module that is registered twice counts once."""
    net = nn.Module()
    net.a = nn.Linear(2, 2)
    net.b = net.a
    assert [layer.names for layer in prunable_layers(net)] == [("a", "b")]


def test_a_head_that_shares_the_embedding_is_left_alone() -> None:
    """Pruning a tied head would prune the embedding."""
    net = Net()
    net.scores.weight = net.words.weight
    assert "scores" not in [layer.name for layer in prunable_layers(net)]


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("head", ["head"]),
        ("body.*, head", ["body.0", "head"]),
        ("!stem", ["body.0", "scores", "head"]),
        ("*,!s*", ["body.0", "head"]),
    ],
)
def test_patterns_choose_layers(patterns: str, names: list[str]) -> None:
    """Shell patterns choose; an exclamation mark takes out again."""
    assert [layer.name for layer in prunable_layers(Net(), patterns)] == names


def test_a_pattern_without_a_match_lists_near_names() -> None:
    """A slip of the pen is met with the names that it may have meant."""
    with pytest.raises(CandidateFailed, match=r"`haed` matches no layer.*near names: `head`"):
        prunable_layers(Net(), "haed")
    with pytest.raises(CandidateFailed, match="the layers are `stem`"):
        prunable_layers(Net(), "zzz")


def test_patterns_that_leave_nothing_are_refused() -> None:
    """Choosing a layer and taking it out again is a mistake."""
    with pytest.raises(CandidateFailed, match="leave no layer"):
        prunable_layers(Net(), "head,!head")


def test_no_prunable_weight_is_said() -> None:
    """A model of norms and embeddings has nothing to prune."""
    with pytest.raises(NothingChanged, match="no weight that can be pruned"):
        prunable_layers(nn.Sequential(nn.Embedding(3, 2), nn.LayerNorm(2)))


def test_the_matrix_is_a_view() -> None:
    """What is written into the matrix is in the layer; columns are ordered as `unfold` has them."""
    net = Net()
    layer = prunable_layers(net, "stem")[0]
    x = torch.randn(2, 3, 6, 6)
    columns = nn.functional.unfold(x, 3)
    product = torch_layers.weight_matrix(layer) @ columns + net.stem.bias[:, None]
    torch.testing.assert_close(product.view(2, 8, 4, 4), net.stem(x))
    torch_layers.weight_matrix(layer).zero_()
    assert int(net.stem.weight.count_nonzero()) == 0


def test_transposed_layers_of_transformers() -> None:
    """The Conv1D of transformers is a matrix the other way round."""
    pytorch_utils: Any = pytest.importorskip("transformers.pytorch_utils")
    net = nn.Sequential(pytorch_utils.Conv1D(6, 4))
    layer = prunable_layers(net)[0]
    assert (layer.kind, layer.weight_shape) == ("transposed", (4, 6))
    torch_layers.weight_matrix(layer)[0] = 0.0
    assert net(torch.ones(1, 4))[0, 0] == net[0].bias[0]


def test_groups_of_a_convolution_lie_along_its_input_channels() -> None:
    """Of m input channels n are kept at each kernel position, and no group crosses positions."""
    conv = nn.Conv2d(6, 5, 3)
    layer = prunable_layers(nn.Sequential(conv))[0]
    scores = torch_layers.weight_matrix(layer).abs()
    mask = torch_layers.n_of_m_mask(layer, scores, 2, 4).view(5, 6, 3, 3)
    assert (mask[:, :4].sum(1) == 2).all()
    assert (mask[:, 4:].sum(1) == 2).all()
    order = torch_layers.input_order(layer)
    assert order[:6].tolist() == [0, 9, 18, 27, 36, 45]
    assert sorted(order.tolist()) == list(range(54))


def test_outer_layers() -> None:
    """The first and the last layer are named; one layer is both."""
    layers = prunable_layers(Net())
    assert torch_layers.outer_layers(layers) == ("stem", "head")
    assert torch_layers.outer_layers(layers[:1]) == ("stem",)
    assert torch_layers.outer_layers([]) == ()
