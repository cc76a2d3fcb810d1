"""Groups of channels that can only go together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
from torch import nn  # noqa: E402

from jettison.errors import CandidateFailed  # noqa: E402
from jettison.graphs.torch_channels import ChannelMap  # noqa: E402
from jettison.graphs.torch_macs import layer_macs, total_macs  # noqa: E402

ROOT = Path(__file__).parents[3]


pytestmark = pytest.mark.usefixtures("one_thread")


class Plain(nn.Module):  # type: ignore[misc]
    """Two convolutions, a norm, and a head behind a flattened image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 4, 3)
        self.head = nn.Linear(4 * 4 * 4, 5)

    def forward(self, image: Any) -> Any:
        x = torch.relu(self.norm(self.first(image)))
        return self.head(torch.relu(self.second(x)).flatten(1))


def _images(rows: int = 3, size: int = 6, seed: int = 0) -> dict[str, Any]:
    return {
        "image": torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(seed))
    }


@pytest.fixture
def plain() -> Any:
    torch.manual_seed(0)
    net = Plain().eval()
    net.norm.running_mean.uniform_(-1, 1)
    return net


def test_groups_of_a_plain_network(plain: Any) -> None:
    """Each inner layer is a group, through norms and flattening; the last layer is none."""
    channels = ChannelMap(plain, _images())
    assert [group.name for group in channels.groups] == ["second", "first"] or [
        group.name for group in channels.groups
    ] == ["first", "second"]
    by_name = {group.name: group for group in channels.groups}
    assert [m.name for m in by_name["second"].readers] == ["head"]
    assert len(by_name["second"].readers[0].positions) == 4 * 16
    assert "head" in channels.spared


def test_removal_answers_like_zeros_and_keeps_the_outside(plain: Any) -> None:
    """A removed channel is missed as if its readers' weights were zero; shapes outside stay."""
    inputs = _images()
    with torch.no_grad():
        zeroed = {name: value.clone() for name, value in plain.state_dict().items()}
        zeroed["second.weight"][:, [1, 4]] = 0
        reference = Plain().eval()
        reference.load_state_dict(zeroed)
        expected = reference(**inputs)
    channels = ChannelMap(plain, inputs)
    group = next(group for group in channels.groups if group.name == "first")
    channels.remove(group, [1, 4])
    with torch.no_grad():
        torch.testing.assert_close(plain(**inputs), expected)
    assert (
        plain.first.weight.shape[0] == plain.norm.num_features == plain.second.weight.shape[1] == 4
    )
    assert total_macs(plain, inputs) == sum(layer_macs(plain, inputs).values())


def test_trying_leaves_no_trace(plain: Any) -> None:
    """Finding the groups changes no weight, no shape and no flag."""
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    plain.first.weight.requires_grad_(requires_grad=False)
    ChannelMap(plain, _images())
    after = plain.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not plain.first.weight.requires_grad
    assert plain.second.weight.requires_grad


def test_channels_that_padding_shifts_are_spared() -> None:
    """ResNets with padded shortcuts: the stream, whose channels move, stays; the blocks shrink."""
    sys.path.insert(0, str(ROOT))
    try:
        from examples.cifar_resnet import resnet20, resnet20_option_a
    finally:
        sys.path.remove(str(ROOT))
    torch.manual_seed(0)
    padded = ChannelMap(resnet20_option_a().eval(), _images(2, 32))
    assert len(padded.groups) == 9
    assert all(group.name.endswith(".conv1") for group in padded.groups)
    assert set(padded.spared) == {"conv1", "linear"}
    projected = ChannelMap(resnet20().eval(), _images(2, 32), "conv1,layer2.0.conv1")
    assert {group.name for group in projected.groups} == {"conv1", "layer2.0.conv1"}


def test_norm_over_channels_spares_them() -> None:
    """A LayerNorm averages over its channels, so they stay; those of the hidden layer may go."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.into = nn.Linear(4, 8)
            self.norm = nn.LayerNorm(8)
            self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
            self.out = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            x = self.into(x)
            return self.out(self.norm(x + self.down(torch.relu(self.up(x)))))

    torch.manual_seed(0)
    channels = ChannelMap(Block().eval(), {"x": torch.randn(5, 4)})
    assert [group.name for group in channels.groups] == ["up"]
    assert any("norm" in why for why in channels.spared.values())


def test_heads_go_whole() -> None:
    """Attention loses heads, never part of one; query, key, value and output go together."""
    transformers = pytest.importorskip("transformers")
    from jettison.graphs.torch_text import TextModel

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=16,
        initializer_range=0.5,
        num_labels=3,
    )
    model = TextModel(transformers.BertForSequenceClassification(config).eval(), None).eval()
    ids = torch.randint(0, 50, (3, 8), generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    channels = ChannelMap(model, inputs)
    heads = next(group for group in channels.groups if group.block > 1)
    assert (heads.units, heads.block) == (4, 4)
    assert len(heads.makers) == 3
    channels.remove(heads, [0, 2])
    with torch.no_grad():
        assert model(**inputs).shape == (3, 3)
    assert heads.makers[0].layer.weight.shape[0] == 8


def test_pattern_that_matches_nothing_names_layers(plain: Any) -> None:
    """A mistyped pattern is an error that shows what there is."""
    with pytest.raises(CandidateFailed, match=r"'fist'.*first"):
        ChannelMap(plain, _images(), "fist")
    only = ChannelMap(plain, _images(), "fir*")
    assert [group.name for group in only.groups] == ["first"]


def test_a_layer_that_shares_channels_with_others_may_be_named() -> None:
    """Naming any of the layers that make the same channels finds their group."""

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.stem(x))
            return self.head(x + self.down(torch.relu(self.up(x))))

    torch.manual_seed(0)
    net, inputs = Residual().eval(), {"x": torch.randn(5, 4)}
    found = [ChannelMap(net, inputs, name).groups for name in ("stem", "down")]
    assert [[maker.name for maker in groups[0].makers] for groups in found] == [
        [maker.name for maker in found[0][0].makers]
    ] * 2
    assert {maker.name for maker in found[0][0].makers} == {"stem", "down"}


def test_groups_without_an_end_are_refused() -> None:
    """Rotary position embeddings send Torch-Pruning round forever: that is told, not waited for."""
    transformers = pytest.importorskip("transformers")
    from jettison.graphs.torch_text import TextModel

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=3,
        pad_token_id=0,
    )
    model = TextModel(transformers.LlamaForSequenceClassification(config).eval(), None).eval()
    ids = torch.randint(1, 50, (3, 8), generator=torch.Generator().manual_seed(0))
    with pytest.raises(CandidateFailed, match=r"no end of what depends on `.*_proj"):
        ChannelMap(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
