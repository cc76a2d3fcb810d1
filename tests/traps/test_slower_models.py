"""What is slower, or no faster, is never called better: only measured costs decide."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from jettison import registry
from jettison.domain.certificate import Certificate
from jettison.domain.device import Device, ServingProfile
from jettison.domain.jobs import Variant
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.recipe import Recipe, Step
from jettison.domain.run import GAIN, Trial
from jettison.search import shortlist
from jettison.search.conclusion import Facts, Finalist, conclude
from jettison.search.trial import Bench
from jettison.timing.claims import faster_verdict

DEVICE = Device("cpu", "x86_64", ("avx2",), 2, 1, "linux")
CLOSED = Certificate("uncertified", "no candidate is faster", (), "", None, (), "", "", "", None)


def gain(cost: str, value: float, half: float = 0.02) -> Estimate:
    """How many times better a cost was measured to be, with its interval."""
    return Estimate(cost + GAIN, OVERALL, value, value - half, value + half, 5, "ratio", "higher")


def trial(number: int, technique: str, **gains: float) -> Trial:
    """A complete trial with perfect quality and these gains."""
    figures = (
        *(gain(cost, value) for cost, value in gains.items()),
        Estimate("accuracy", OVERALL, 1.0, 0.99, 1.0, 400, "fraction", "higher"),
    )
    recipe = Recipe((Step(technique),), Step("onnx_runtime"))
    ranking = Measurement(recipe.digest, "ranking", figures, DEVICE)
    return Trial(number, recipe, "complete", "", None, ranking, 1.0)


def bench(*costs: str) -> Bench:
    """Only what the choice of the shortlist reads."""
    nothing: Any = None
    return Bench(
        model=nothing,
        baseline=Variant("baseline", nothing, Step("onnx_runtime")),
        fitting=nothing,
        selection=None,
        quality=None,
        sanity_reference={},
        costs=costs,
        requirements=(),
        serving=ServingProfile(),
        device=DEVICE,
        folder=Path(),
    )


def test_the_first_acceptable_one_does_not_win() -> None:
    """Good quality comes first in the search and is slower; the faster one is taken, or none
    (neural-compressor 1617).
    """
    acceptable = trial(0, "first_acceptable", latency_ms=0.8, size_bytes=3.9)
    better = trial(1, "later", latency_ms=1.4, size_bytes=1.0)
    found = shortlist.cheaper(bench("latency_ms", "size_bytes"), [acceptable, better])
    assert [kept.recipe.steps[0].name for kept, _ in found.values()] == ["later"]
    assert not shortlist.cheaper(bench("latency_ms"), [acceptable])


@pytest.mark.parametrize("value", [0.29, 0.5, 0.96])
def test_int8_that_is_slower_is_told_as_slower(value: float) -> None:
    """A quarter of the bytes and slower: nothing better in latency (onnxruntime 20052, 17389)."""
    claim = gain("latency_ms", value)
    assert faster_verdict(claim, 0.02) == "slower"
    slow = trial(0, "int8", latency_ms=value, size_bytes=4.0)
    measured = Measurement(slow.recipe.digest, "claim", (claim,), DEVICE)
    facts = Facts("latency_ms", 1, (Finalist(slow, measured, "slower"),), CLOSED, "", False, False)
    found = conclude(facts)
    assert found.outcome == "nothing_better"
    assert found.shipped == ""


def test_a_newer_way_has_no_bonus() -> None:
    """The order is that of the measured gains, whatever is newer or promised more (torchao 3157)."""
    old = trial(0, "old_int8", latency_ms=1.5)
    new = trial(1, "new_int8", latency_ms=1.1)
    found = shortlist.cheaper(bench("latency_ms"), [new, old])
    best = max(found.values(), key=lambda item: item[1])
    assert best[0].recipe.steps[0].name == "old_int8"


def test_half_the_products_at_the_same_latency_is_no_gain() -> None:
    """Fewer products that take as long: no difference is shown (Torch-Pruning 149)."""
    same = gain("latency_ms", 1.01, half=0.02)
    assert faster_verdict(same, 0.02) == "no difference shown"
    assert not shortlist.cheaper(bench("latency_ms"), [trial(0, "narrow", latency_ms=1.01)])
    noisy = dataclasses.replace(gain("latency_ms", 2.0), state="noisy")
    assert faster_verdict(noisy, 0.02) == "noisy"


def test_no_cost_is_counted_from_the_graph() -> None:
    """Every cost is in units that are read from a running process or from the saved files."""
    units = {name: registry.get("costs", name).unit for name in registry.names("costs")}
    assert units
    assert {unit.partition(" ")[0] for unit in units.values()} <= {"ms", "bytes", "J", "s"}
