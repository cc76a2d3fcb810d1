"""The answer is a pure function of what was found; nothing is better without evidence."""

from __future__ import annotations

import dataclasses

import pytest

from jettison.domain import certificate
from jettison.domain.certificate import Certificate, Claim
from jettison.domain.device import Device
from jettison.domain.measurement import OVERALL, Estimate, Measurement
from jettison.domain.recipe import Recipe, Step
from jettison.domain.run import GAIN, Trial
from jettison.pipeline.measure import FasterVerdict
from jettison.search.conclusion import Facts, Finalist, conclude

DEVICE = Device("cpu", "x86_64", ("avx2",), 2, 1, "linux")
RECIPE = Recipe((Step("int8_static"),), Step("onnx_runtime"))
CLOSED = Certificate("uncertified", "no candidate is faster", (), "", None, (), "", "", "", None)
HELD = Claim(
    "accuracy", OVERALL, 0.01, True, 900, 0.9, 0.9, 0.0, 0.004, 0.01, "A", "score test", "held"
)
SHIPPED = dataclasses.replace(CLOSED, status="certified", reason="", claims=(HELD,))


def finalist(verdict: FasterVerdict, value: float = 1.6) -> Finalist:
    """One candidate with a gain and its interval."""
    gain = Estimate(
        "latency_ms" + GAIN, OVERALL, value, value - 0.1, value + 0.1, 5, "ratio", "higher"
    )
    claim = Measurement(RECIPE.digest, "claim", (gain,), DEVICE)
    return Finalist(Trial(0, RECIPE, "complete", "", None, None, 1.0), claim, verdict)


FACTS = Facts("latency_ms", 4, (finalist("faster"),), SHIPPED, RECIPE.digest, False, False)


def test_faster_and_certified_is_an_improvement() -> None:
    """The sentence has gain, interval, launches and margin."""
    found = conclude(FACTS)
    assert found.outcome == "improved"
    assert "1.60x faster (95 % interval 1.50 to 1.70, 5 launches)" in found.answer
    assert "accuracy within 1 percentage point of it" in found.answer


def test_without_a_certificate_nothing_is_improved() -> None:
    """A faster candidate that is not certified is undecided, and says why."""
    closed = dataclasses.replace(CLOSED, reason="there is no data to certify it on")
    found = conclude(dataclasses.replace(FACTS, certificate=closed))
    assert found.outcome == "undecided"
    assert "not certified: there is no data" in found.answer


def test_noise_is_not_an_answer() -> None:
    """On a busy machine the outcome is undecided, never nothing better."""
    noisy = dataclasses.replace(
        FACTS, finalists=(finalist("noisy"),), certificate=CLOSED, shipped="", noisy=True
    )
    assert conclude(noisy).outcome == "undecided"


def test_no_difference_shown_is_nothing_better() -> None:
    """A gain that can't be told from none does not beat the original."""
    same = dataclasses.replace(
        FACTS, finalists=(finalist("no difference shown", 1.0),), certificate=CLOSED, shipped=""
    )
    assert conclude(same).outcome == "nothing_better"


def test_an_interrupted_search_claims_nothing() -> None:
    """Whatever was found, an interrupted run ships nothing."""
    found = conclude(dataclasses.replace(FACTS, interrupted=True))
    assert (found.outcome, found.shipped) == ("interrupted", "")


@pytest.mark.parametrize(
    ("verdict", "outcome"), [("broken", "nothing_better"), ("undecided", "undecided")]
)
def test_a_failed_certificate_tells_harm_from_doubt(verdict: str, outcome: str) -> None:
    """Broken means that nothing is better; undecided means that rows are missing."""
    tested = certificate.Tested(RECIPE.digest, "int8", verdict)  # type: ignore[arg-type]
    failed = dataclasses.replace(CLOSED, status="failed", reason="worse", order=(tested,))
    found = conclude(dataclasses.replace(FACTS, certificate=failed, shipped=""))
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ("size_bytes", "is 2.00x smaller than the original"),
        ("sparse_size_bytes", "is 2.00x lower in sparse_size_bytes and no smaller on disk"),
        ("compressed_size_bytes", "is 2.00x lower in compressed_size_bytes and no smaller on disk"),
        ("latency_ms", "is 2.00x faster and no smaller on disk"),
    ],
)
def test_only_smaller_files_are_called_smaller(cost: str, words: str) -> None:
    """A masked model is never called smaller for its zeros; the size that is lower is named."""
    gains = {"size_bytes": 1.0, cost: 2.0}
    claim = Measurement(
        RECIPE.digest,
        "claim",
        tuple(
            Estimate(name + GAIN, OVERALL, value, value, value, 1, "ratio", "higher")
            for name, value in gains.items()
        ),
        DEVICE,
    )
    found = conclude(
        dataclasses.replace(
            FACTS, cost=cost, finalists=(dataclasses.replace(finalist("faster"), claim=claim),)
        )
    )
    assert words in found.answer


def test_groups_that_are_not_certified_are_told() -> None:
    """Few are named, many are counted, and those that hold are counted beside them."""
    held = dataclasses.replace(HELD, group="context=noise")
    claims = (HELD, held, *(undecided(f"speaker={name}") for name in "ab"))
    found = conclude(dataclasses.replace(FACTS, certificate=certified(claims)))
    assert "margin of each of 1 groups; not certified for speaker=a, speaker=b." in found.answer
    claims = (HELD, *(undecided(f"speaker={name}") for name in "abcd"))
    found = conclude(dataclasses.replace(FACTS, certificate=certified(claims)))
    assert found.answer.endswith("of it; not certified for 4 groups that the report names.")


def undecided(group: str) -> Claim:
    """A claim that was listed and does not gate."""
    return dataclasses.replace(HELD, group=group, gates=False, verdict="undecided")


def certified(claims: tuple[Claim, ...]) -> Certificate:
    """A certificate with these claims."""
    return dataclasses.replace(SHIPPED, claims=claims)


def test_the_nearest_is_the_one_that_gains_most() -> None:
    """Not the first of the order; and what is slower is not told as hard to tell apart."""
    near = finalist("no difference shown", 1.01)
    slow = finalist("slower", 0.8)
    found = conclude(
        dataclasses.replace(FACTS, finalists=(slow, near), certificate=CLOSED, shipped="")
    )
    assert "is 1.01x faster" in found.answer
    assert "can't tell from no difference" in found.answer
    found = conclude(dataclasses.replace(FACTS, finalists=(slow,), certificate=CLOSED, shipped=""))
    assert "can't tell" not in found.answer


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("nll", "keep nll within 0.05 nats of it"),
        ("cosine", "keep cosine within 0.05 of it"),
        ("accuracy", "keep accuracy within 5 percentage points of it"),
    ],
)
def test_a_margin_has_the_unit_of_its_metric(metric: str, words: str) -> None:
    """Only fractions are told in percentage points."""
    held = dataclasses.replace(HELD, metric=metric, margin=0.05)
    found = conclude(dataclasses.replace(FACTS, certificate=certified((held,))))
    assert words in found.answer
