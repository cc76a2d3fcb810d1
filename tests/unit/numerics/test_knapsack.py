"""Which layers are worth the time that they cost in float."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from jettison.numerics.knapsack import Item, spared_by_knapsack

ITEMS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(-5, 20)).map(lambda t: (float(t[0]), float(t[1]))),
    min_size=1,
    max_size=7,
).map(lambda pairs: [Item(f"l{i}", w, c) for i, (w, c) in enumerate(pairs)])


@given(ITEMS, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_no_other_choice_is_worth_more(items: list[Item], share: float) -> None:
    """Against all subsets: the budget holds, and no choice within it is worth more (but for rounding)."""
    chosen = spared_by_knapsack(items, share)
    by_name = {item.name: item for item in items}
    budget = share * sum(max(item.cost, 0.0) for item in items)

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
    assert spared_by_knapsack(items, 0.01) == ("bad",)
    assert spared_by_knapsack(items, 1.0) == ("bad", "large")
