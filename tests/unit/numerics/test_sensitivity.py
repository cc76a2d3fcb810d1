"""The order in which layers are spared."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from jettison.domain.rows import Array
from jettison.numerics.sensitivity import (
    relative_distance,
    remembered_order,
    sensitivity_order,
    spared_layers,
)

DISTANCES = {"a": 0.1, "b": 0.5, "c": math.nan, "d": 0.1, "e": 0.0}


def never(name: str) -> float:
    raise AssertionError(f"the local error of {name} was not needed")


def test_most_sensitive_first() -> None:
    """Layers are ordered by distance; NaN is worst; ties keep the order of the graph."""
    found = sensitivity_order(list("abcde"), DISTANCES.__getitem__, never)
    assert [s.layer for s in found] == ["c", "b", "a", "d", "e"]
    assert found[0].distance == math.inf


def test_local_error_picks_what_is_measured() -> None:
    """Where layers abound, only those with the largest local error are measured."""
    asked: list[str] = []

    def distance(name: str) -> float:
        asked.append(name)
        return DISTANCES[name]

    local = {"a": 1.0, "b": 2.0, "c": 0.5, "d": 4.0, "e": 3.0}
    found = sensitivity_order(list("abcde"), distance, local.__getitem__, measured=2)
    assert asked == ["d", "e"]
    assert [s.layer for s in found] == ["d", "e", "b", "a", "c"]
    assert [s.distance for s in found[2:]] == [None, None, None]


def test_relative_distance() -> None:
    """The mean over rows of the length of the difference over the length of the row."""
    before = np.array([[3.0, 4.0], [0.0, 2.0]])
    after = np.array([[3.0, 4.0], [1.0, 2.0]])
    assert relative_distance(before, after) == 0.25


def test_zero_rows_have_a_distance() -> None:
    """A row of zeros counts with the plain length of the difference."""
    assert relative_distance(np.zeros((1, 2)), np.array([[3.0, 4.0]])) == 5.0


class Network:
    """Two numbers; changing `x` moves the answer more than changing `y`."""

    def __init__(self) -> None:
        self.runs = 0

    def answers(self, node: str = "") -> Array:
        self.runs += 1
        return np.array([[10.0 + {"": 0.0, "x": 2.0, "y": 1.0}[node]]])

    def local_error(self, node: str) -> float:
        return never(node)


def test_order_is_remembered(tmp_path: Path) -> None:
    """The second request reads the file and runs nothing."""
    network = Network()
    for _ in range(2):
        order = remembered_order(["y", "x"], tmp_path / "order", lambda: network)
        assert order == ("x", "y")
    assert network.runs == 3


def test_only_some_layers_may_be_spared(tmp_path: Path) -> None:
    """Layers that must not be named are passed over; none asked for, nothing is run."""
    network = Network()
    memory = tmp_path / "order"
    assert spared_layers(0, {"x", "y"}, ["y", "x"], memory, lambda: network) == ()
    assert network.runs == 0
    assert spared_layers(1, {"y"}, ["y", "x"], memory, lambda: network) == ("y",)
    assert spared_layers(2, {"x", "y"}, ["y", "x"], memory, lambda: network) == ("x", "y")
