"""Choosing the rank of each layer."""

from __future__ import annotations

import itertools

import numpy as np

from jettison.numerics.rank_allocation import RankOptions, ranks_by_energy, ranks_for_cost


def _layer(seed: int, size: int = 6, scale: float = 1.0) -> RankOptions:
    values = np.sort(np.random.default_rng(seed).exponential(scale, size))[::-1]
    lost = np.concatenate([np.cumsum(values[::-1])[::-1], [0.0]])
    return RankOptions(lost, 2.0, 2.0 * size * 0.75)


def _cost(layers: list[RankOptions], ranks: tuple[int | None, ...]) -> float:
    return sum(
        layer.full_cost if rank is None else rank * layer.unit_cost
        for layer, rank in zip(layers, ranks)
    )


def _lost(layers: list[RankOptions], ranks: tuple[int | None, ...]) -> float:
    return sum(
        0.0 if rank is None else float(layer.lost[rank]) for layer, rank in zip(layers, ranks)
    )


def test_no_choice_of_the_same_cost_loses_less() -> None:
    """Every other choice that costs at most as much loses at least as much (all are tried)."""
    layers = [_layer(0), _layer(1, scale=5.0), _layer(2, scale=0.2)]
    for budget in (10.0, 15.0, 20.0):
        found = ranks_for_cost(layers, budget)
        spent = _cost(layers, found)
        assert spent <= budget
        every = itertools.product(*[(None, *layer.ranks) for layer in layers])
        within = [ranks for ranks in every if _cost(layers, ranks) <= spent]
        assert _lost(layers, found) <= min(_lost(layers, ranks) for ranks in within) + 1e-12


def test_rank_is_only_taken_where_it_saves() -> None:
    """A layer whose two factors would cost as much as itself stays whole."""
    square = RankOptions(np.array([3.0, 2.0, 0.0]), 2.0, 2.0)
    assert square.ranks == ()
    assert ranks_for_cost([square], 0.1) == (None,)
    assert ranks_by_energy([square], 0.5) == (None,)


def test_energy_keeps_its_share() -> None:
    """The smallest rank is taken whose error is within what may go."""
    layer = RankOptions(np.array([10.0, 4.0, 1.0, 0.5, 0.0]), 1.0, 100.0)
    assert ranks_by_energy([layer], 0.6) == (1,)
    assert ranks_by_energy([layer], 0.89) == (2,)


def test_ranks_are_multiples_of_the_step() -> None:
    """Ranks are rounded to what kernels like."""
    layer = RankOptions(np.linspace(1, 0, 33), 1.0, 100.0, step=8)
    assert layer.ranks == (8, 16, 24, 32)
