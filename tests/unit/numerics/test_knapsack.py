"""Which layers are worth the time that they cost in float."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from jettison.numerics.knapsack import Item, spared_as_measured, spared_by_knapsack

ITEMS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(-5, 20)).map(lambda t: (float(t[0]), float(t[1]))),
    min_size=1,
    max_size=7,
).map(lambda pairs: [Item(f"l{i}", w, c) for i, (w, c) in enumerate(pairs)])


@given(ITEMS, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_no_other_choice_is_worth_more(items: list[Item], share: float) -> None:
    """Against all subsets: the budget holds, and no choice within it is worth more (but for rounding)."""
    by_name = {item.name: item for item in items}
    budget = share * sum(max(item.cost, 0.0) for item in items)
    chosen = spared_by_knapsack(items, budget)

    def cost(names: tuple[str, ...]) -> float:
        return sum(max(by_name[n].cost, 0.0) for n in names)

    def worth(names: tuple[str, ...]) -> float:
        return sum(by_name[n].worth for n in names)

    assert cost(chosen) <= budget + 1e-6
    subsets = [s for k in range(len(items) + 1) for s in combinations(by_name, k)]
    # Costs are rounded up to a thousandth of the budget each.
    best = max(worth(s) for s in subsets if cost(s) <= budget * (1 - len(items) / 1000))
    assert worth(chosen) >= best


def test_what_costs_nothing_is_spared_if_it_is_worth_anything() -> None:
    """A layer as fast in float stays there; one that loses nothing in 8 bits does not."""
    items = [Item("bad", 1.0, 0.0), Item("good", 0.0, -1.0), Item("large", 1.0, 100.0)]
    assert spared_by_knapsack(items, 1.0) == ("bad",)
    assert spared_by_knapsack(items, 100.0) == ("bad", "large")


@given(ITEMS, st.sampled_from([0.0, 2.0, 10.0]), st.floats(0.0, 9.0))
def test_a_choice_keeps_to_the_budget_as_it_is_measured(
    items: list[Item], budget: float, border: float
) -> None:
    """Whatever borders cost on top, what is chosen was measured, and costs no more than it may."""
    costs = {item.name: max(item.cost, 0.0) + border for item in items}
    measured: dict[tuple[str, ...], float] = {}

    def cost(names: Sequence[str]) -> float:
        return measured.setdefault(tuple(names), sum(costs[n] for n in names))

    chosen = spared_as_measured(items, budget, cost)
    assert not chosen or measured[chosen] <= budget


def test_a_dear_border_leaves_the_layer_that_is_worth_most() -> None:
    """Three layers fit one by one; with what their borders cost only one does: the best."""
    items = [Item("a", 1.0, 0.9), Item("b", 9.0, 0.9), Item("c", 2.0, 0.9)]
    tried: list[tuple[str, ...]] = []

    def cost(names: Sequence[str]) -> float:
        tried.append(tuple(names))
        return 3.0 * len(names)

    assert spared_as_measured(items, 3.0, cost) == ("b",)
    assert tried[0] == ("a", "b", "c")


def test_one_layer_that_ruins_the_runtime_is_found_out() -> None:
    """Where one of three free layers costs a hundred times the budget, the best is kept alone."""
    items = [Item("bad", 9.0, -1.0), Item("dear", 1.0, 0.0), Item("other", 2.0, 0.0)]

    def cost(names: Sequence[str]) -> float:
        return 1000.0 if "dear" in names else 0.0

    assert spared_as_measured(items, 10.0, cost) == ("bad",)
    assert spared_as_measured(items, 0.0, cost) == ("bad",)
