"""Which channels a layer misses least."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from jettison.numerics.channel_elimination import Reading, elimination_scores  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def _reading(seed: int, units: int = 6, width: int = 2, outputs: int = 5) -> Reading:
    generator = torch.Generator().manual_seed(seed)
    k = units * width
    mixed = torch.randn(200, k, generator=generator, dtype=torch.float64)
    mixed = mixed @ torch.randn(k, k, generator=generator, dtype=torch.float64)
    inputs = torch.arange(k).reshape(units, width)
    weights = torch.randn(outputs, k, generator=generator, dtype=torch.float64)
    return Reading(weights, mixed.T @ mixed / 200, inputs)


def _error_without(reading: Reading, units: list[int]) -> float:
    """The error after the best fit without some units, as a share of the answer."""
    gone = reading.inputs[units].flatten()
    stay = torch.tensor([i for i in range(len(reading.second)) if i not in gone.tolist()])
    w, h = reading.weights, reading.second
    fitted = torch.linalg.solve(h[stay][:, stay], (w @ h[:, stay]).T).T
    apart = w.clone()
    apart[:, stay] -= fitted
    return float(((apart @ h) * apart).sum() / ((w @ h) * w).sum())


def test_first_to_go_is_the_one_whose_best_fit_loses_least() -> None:
    """The smallest score belongs to the unit whose removal, fitted by hand, costs least."""
    reading = _reading(0)
    scores = elimination_scores([reading], 1e-12)
    by_hand = torch.tensor([_error_without(reading, [unit]) for unit in range(6)])
    assert int(scores.argmin()) == int(by_hand.argmin())
    assert float(scores.min()) == pytest.approx(float(by_hand.min()), rel=1e-6)


def test_scores_add_up_to_the_error_of_the_set() -> None:
    """What the units add one after the other is what the whole set costs when fitted by hand."""
    reading = _reading(1)
    scores = elimination_scores([reading], 1e-12)
    order = scores.argsort().tolist()
    # Each of the first adds more than the one before, so no score was lifted.
    assert all(scores[a] < scores[b] * (1 - 1e-6) for a, b in itertools.pairwise(order[:4]))
    total = float(scores[order[:3]].sum())
    assert total == pytest.approx(_error_without(reading, order[:3]), rel=1e-5)


def test_copy_of_a_channel_is_free() -> None:
    """Of two channels that carry the same values, one costs nothing, and then the other counts."""
    reading = _reading(2, units=4, width=1)
    values = torch.randn(300, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    values[:, 3] = values[:, 1]
    found = elimination_scores(
        [Reading(reading.weights, values.T @ values / 300, reading.inputs)], 1e-9
    )
    assert int(found.argmin()) in (1, 3)
    assert float(found.min()) < 1e-6
    assert float(found.sort().values[1]) > 1e-3


def test_scores_of_several_readers_count_together() -> None:
    """A channel that one layer can spare stays if another needs it."""
    one, other = _reading(4, width=1), _reading(5, width=1)
    one.weights[:, 0] = 0.0
    alone = elimination_scores([one], 1e-9)
    assert int(alone.argmin()) == 0
    other.weights[:, 0] *= 100.0
    assert int(elimination_scores([one, other], 1e-9).argmin()) != 0


def test_wide_layers_lose_several_in_a_step() -> None:
    """Hundreds of units take a bounded number of steps, and each unit has a score of its own."""
    reading = _reading(6, units=200, width=1)
    scores: Any = elimination_scores([reading], 1e-6)
    assert len(set(scores.tolist())) == 200
    assert float(scores.min()) >= 0.0
