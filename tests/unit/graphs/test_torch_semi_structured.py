"""Which linear layers can be computed as 2:4, and moving traced graphs to another device."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from jettison.errors import CandidateFailed

torch = pytest.importorskip("torch")

from jettison.graphs.torch_placement import place  # noqa: E402
from jettison.graphs.torch_semi_structured import (  # noqa: E402
    choose_layers,
    is_two_of_four,
    replace_layers,
)
from jettison.numerics.masks import n_of_m  # noqa: E402


def two_layers() -> Any:
    """A layer of 64 x 64 that is 2:4, and one of 64 x 64 that is not."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64))
    with torch.no_grad():
        module[0].weight.mul_(n_of_m(module[0].weight.abs(), 2, 4))
    return module.eval()


def test_two_of_four_is_read_from_the_weights() -> None:
    """At most two of every four neighbours in a row; three in one group are too many."""
    weight = torch.zeros(2, 8)
    weight[:, [0, 1, 4, 7]] = 1.0
    assert is_two_of_four(weight)
    weight[1, 5] = 1.0
    assert not is_two_of_four(weight)
    assert not is_two_of_four(torch.zeros(2, 6)), "a row must divide into groups of four"


def test_only_layers_that_are_2_of_4_are_chosen() -> None:
    """The dense layer is named with the reason."""
    found = choose_layers(two_layers())
    assert found.names == ("0",)
    assert found.dense == {"2": "its weight is not 2:4"}


def test_sizes_and_subclasses_stay_dense() -> None:
    """Kernels want multiples of 32 x 64, and a subclass may read its weight in other ways."""
    odd = torch.nn.Linear(64, 33)
    torch.nn.init.zeros_(odd.weight)
    attention = torch.nn.MultiheadAttention(64, 2)
    torch.nn.init.zeros_(attention.out_proj.weight)
    found = choose_layers(torch.nn.ModuleDict({"odd": odd, "attention": attention}))
    assert found.names == ()
    assert found.dense["odd"] == "33 x 64 is not a multiple of 32 x 64"
    assert "not a plain linear layer" in found.dense["attention.out_proj"]


def test_pytorchs_word_on_its_prototype_is_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It warns at the first such weight that its class may change: nothing that a user can act on."""

    def compress(weight: Any) -> Any:
        told = "The PyTorch API of SparseSemiStructuredTensor is in prototype stage and will change"
        warnings.warn(told, UserWarning, stacklevel=2)
        return weight

    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", compress)
    dense = two_layers()
    values = torch.randn(2, 3, 64)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = dense(values)
        assert replace_layers(dense).names == ("0",)
        torch.testing.assert_close(dense(values), expected)


def test_no_layer_is_a_failure_with_the_reasons() -> None:
    """What stands in the way of each layer, and what to do."""
    with pytest.raises(CandidateFailed, match=r"`0`: its weight is not 2:4 \(prune with `pattern"):
        replace_layers(torch.nn.Sequential(torch.nn.Linear(64, 64)))
    with pytest.raises(CandidateFailed, match="no linear layer"):
        replace_layers(torch.nn.Sequential(torch.nn.ReLU()))


def test_a_traced_graph_makes_its_tensors_where_it_runs() -> None:
    """Devices and floats of the graph follow the module; whole numbers stay what they are."""
    graph, cpu = torch.fx.Graph(), torch.device("cpu")
    values = graph.placeholder("values")
    marks = graph.call_function(torch.ones, (3,), {"dtype": torch.float32, "device": cpu})
    whole = graph.call_function(torch.arange, (3,), {"dtype": torch.int64, "device": cpu})
    scaled = graph.call_function(torch.mul, (values, marks))
    graph.output((graph.call_function(torch.add, (scaled, whole)), whole))
    placed = place(torch.fx.GraphModule({}, graph), "meta", torch.bfloat16)
    answer, numbers = placed(torch.ones(2, 3, dtype=torch.bfloat16, device="meta"))
    assert (answer.device.type, answer.dtype) == ("meta", torch.bfloat16)
    assert numbers.dtype == torch.int64
